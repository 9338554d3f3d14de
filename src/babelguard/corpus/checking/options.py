"""The checks by name, and their thresholds."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from babelguard.errors import UserError

CHECKS = {
    "encoding": "bytes that are no UTF-8, NUL, text that was decoded wrongly",
    "normalisation": "byte-order marks, line ends, invisible characters, not NFC",
    "columns": "unknown, repeated or ambiguous columns",
    "rows": "rows that cannot be read, ids, labels, splits",
    "parallel": "a row or a file that lacks a language of its file or split",
    "twins": "twins that are missing, not mutual or in another split",
    "topics": "a topic in two splits",
    "script": "letters of another script than the language's",
    "language": "cells in another language",
    "length": "cells much longer or shorter than the language's usual",
    "duplicates": "the same text twice in a split",
    "leakage": "the same text in two splits",
    "near-duplicates": "nearly the same text twice, in one split or two",
    "embeddings": "cells that do not mean what the English cell means",
}


@dataclass(frozen=True)
class CheckOptions:
    """What is checked and when it fails.

    Attributes:
        skip: Names of checks that are left out.
        embeddings: Whether the check of that name runs; it takes long.
        script_share: A cell fails with a smaller share of its letters in the language's script, 0 to 1.
        language_margin: A cell fails if another language is more probable by more than this, 0 to 1.
        length_mads: A cell fails if the logarithm of its length ratio is so many (normal-consistent) median absolute
            deviations from the language's median.
        similar: Jaccard similarity of character trigrams from which two texts are near-duplicates, 0 to 1.
        embedding_mads: As `length_mads`, for similarities below the language's median.
        examples: Findings of a kind that are kept with their place; all are counted.
    """

    skip: frozenset[str] = frozenset()
    embeddings: bool = False
    script_share: float = 0.5
    language_margin: float = 0.4
    length_mads: float = 5.0
    similar: float = 0.7
    embedding_mads: float = 3.0
    examples: int = 3

    def runs(self, check: str) -> bool:
        """Whether a check is made."""
        return check not in self.skip and (check != "embeddings" or self.embeddings)


def known_checks(names: Iterable[str]) -> frozenset[str]:
    """The names of checks as given by a user.

    Raises:
        UserError: for a name that is no check.
    """
    kept = frozenset(names)
    for name in sorted(kept):
        if name not in CHECKS:
            close = difflib.get_close_matches(name, CHECKS, n=1)
            advice = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(CHECKS)}."
            raise UserError(f"There is no check '{name}' to skip: {advice}")
    return kept
