"""Detect replies that only repeat the question."""

from __future__ import annotations

from collections import Counter

# Length of the compared pieces of text in characters, and the share that must be the same in both directions.
PIECE = 3
MIN_SHARE = 0.75


def repeats_question(question: str, reply: str) -> bool:
    """Whether a reply consists mostly of the question, in the same or another order.

    Args:
        question: The request.
        reply: The reply.
    """
    return overlap(question, reply) >= MIN_SHARE


def overlap(question: str, reply: str) -> float:
    """Return the Dice coefficient of the character trigrams of two texts, in [0, 1]."""
    a, b = _pieces(question), _pieces(reply)
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 0.0


def _pieces(text: str) -> Counter[str]:
    letters = "".join(char for char in text.casefold() if char.isalnum())
    return Counter(letters[k : k + PIECE] for k in range(len(letters) - PIECE + 1))
