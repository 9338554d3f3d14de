"""Which languages to train on, so that the others are near one of them: greedy facility location."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def coverage(similarity: Tensor, chosen: Sequence[int]) -> float:
    """Mean over all languages of the similarity to the most similar chosen one.

    Args:
        similarity: [L, L], larger is more alike.
        chosen: Indices of languages, at least one.
    """
    return float(similarity[:, list(chosen)].max(1).values.mean())


def choose_languages(similarity: Tensor, candidates: Sequence[int], count: int) -> list[int]:
    """The languages that cover the rest best, one after the other.

    Each is the candidate that raises the coverage most, given those before it; the greedy choice reaches at least
    1 - 1/e of the best possible gain (Nemhauser, Wolsey and Fisher, 1978). Ties go to the earlier candidate.

    Args:
        similarity: [L, L], larger is more alike.
        candidates: Indices of languages that may be chosen.
        count: How many.

    Returns:
        Indices in the order of choice.

    Raises:
        ValueError: where there are fewer candidates than wanted.
    """
    if not 1 <= count <= len(candidates):
        raise ValueError(f"{count} languages are wanted, and there are {len(candidates)} candidates")
    chosen: list[int] = []
    while len(chosen) < count:
        left = [k for k in candidates if k not in chosen]
        chosen.append(max(left, key=lambda k: coverage(similarity, [*chosen, k])))
    return chosen
