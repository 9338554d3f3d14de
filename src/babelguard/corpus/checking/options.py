"""Names and thresholds of the checks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from babelguard.errors import UserError

CHECKS = {
    "encoding": "bytes that are not UTF-8, NUL, wrongly decoded text",
    "normalisation": "byte-order marks, line ends, invisible characters, text that is not NFC",
    "columns": "unknown, repeated or ambiguous columns",
    "rows": "rows that cannot be read, invalid ids, labels or splits",
    "parallel": "a row or file without a language that its file or split has",
    "twins": "twins that are missing, not mutual, or in another split",
    "topics": "a topic in two splits",
    "script": "letters of the wrong script",
    "language": "cells in another language",
    "length": "cells with an unusual length for their language",
    "duplicates": "the same text twice in a split",
    "leakage": "the same text in two splits",
    "near-duplicates": "almost the same text twice, in one or two splits",
    "embeddings": "cells that differ in meaning from the English cell",
}


@dataclass(frozen=True)
class CheckOptions:
    """Which checks run, and their thresholds.

    Attributes:
        skip: Names of checks to leave out.
        embeddings: Whether to run the check `embeddings`, which is slow.
        script_share: Minimum share of a cell's letters that must be in the script of the language, 0 to 1.
        language_margin: A cell fails if the probability of another language is higher by more than this, 0 to 1.
        length_mads: A cell fails if the logarithm of its length ratio is more than this number of median absolute
            deviations (scaled to a normal distribution) from the median of the language.
        similar: Minimum Jaccard similarity of the character trigrams of near-duplicates, 0 to 1.
        embedding_mads: Like `length_mads`, for cosine similarities below the median of the language.
        examples: Findings per kind that are kept with their place. All findings are counted.
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
        """Whether a check is run."""
        return check not in self.skip and (check != "embeddings" or self.embeddings)


def known_checks(names: Iterable[str]) -> frozenset[str]:
    """Validate names of checks.

    Raises:
        UserError: If there is no check with one of these names.
    """
    kept = frozenset(names)
    for name in sorted(kept):
        if name not in CHECKS:
            close = difflib.get_close_matches(name, CHECKS, n=1)
            advice = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(CHECKS)}."
            raise UserError(f"There is no check '{name}' to skip: {advice}")
    return kept
