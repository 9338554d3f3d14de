"""Exact and near-duplicates within a language, in the same split or in two splits."""

from __future__ import annotations

import zlib
from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from babelguard.corpus.checking.report import Report
from babelguard.corpus.checking.state import Rows
from babelguard.errors import UserError

# MinHash with bands: two texts are compared if all minima of at least one band agree. This happens for 99.6 % of pairs
# with a similarity of 0.7, and for 15 % of pairs with a similarity of 0.3.
_BANDS, _IN_BAND = 20, 4
# If all rows are made from one template, every pair is a candidate. Then only the most likely pairs are compared, and the
# report says so.
_MAX_PAIRS = 20_000


def trigrams(text: str) -> set[str]:
    """Return the character trigrams of a folded text, or the text itself if it is shorter."""
    return {text[k : k + 3] for k in range(len(text) - 2)} or {text}


@dataclass
class _Seen:
    numbers: array[int] = field(default_factory=lambda: array("I"))
    digests: array[int] = field(default_factory=lambda: array("Q"))
    bands: array[int] = field(default_factory=lambda: array("I"))


class Duplicates:
    """Stores a hash of every cell, and MinHash bands of its trigrams if near-duplicates are checked.

    Args:
        rows: Places, splits and twins of the rows.
        report: The report to add findings to.
        near: Minimum Jaccard similarity of near-duplicates, or None to check for exact duplicates only.

    Raises:
        UserError: If datasketch is needed and not installed.
    """

    def __init__(self, rows: Rows, report: Report, near: float | None) -> None:
        self._rows = rows
        self._report = report
        self._near = near
        self._seen: dict[str, _Seen] = defaultdict(_Seen)
        self._texts: dict[str, dict[int, str]] = {}
        self._pairs: dict[str, list[tuple[int, int]]] = {}
        self._hash: Any = None
        if near is not None:
            self._hash = _min_hash()
        self._factors = np.random.default_rng(0).integers(1, 2**63, _IN_BAND, dtype=np.uint64) | np.uint64(1)

    def add_cell(self, number: int, language: str, text: str) -> None:
        """Add one cell, folded."""
        seen = self._seen[language]
        seen.numbers.append(number)
        seen.digests.append(int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()))
        if self._hash is not None:
            self._hash.clear()
            self._hash.update_batch([part.encode("utf-8", "surrogatepass") for part in trigrams(text)])
            minima = self._hash.hashvalues.reshape(_BANDS, _IN_BAND).astype(np.uint64)
            keys = ((minima * self._factors).sum(axis=1) >> np.uint64(32)).astype(np.uint32)
            seen.bands.frombytes(keys.tobytes())

    def finish(self) -> None:
        """Report exact duplicates, and select the pairs to compare."""
        for language, seen in self._seen.items():
            numbers = np.frombuffer(seen.numbers, np.uint32)
            digests = np.frombuffer(seen.digests, np.uint64)
            for k, first in _repeats(digests):
                self._add_finding(
                    language, int(numbers[k]), int(numbers[first]), "the text is the same as in", exact=True
                )
            if self._near is not None:
                self._find_pairs(language, seen, numbers, digests)

    def _find_pairs(self, language: str, seen: _Seen, numbers: Any, digests: Any) -> None:
        bands = np.frombuffer(seen.bands, np.uint32).reshape(-1, _BANDS)
        found = [np.empty((0, 2), np.int64)]
        for band in bands.T:
            order = np.argsort(band, kind="stable")
            same = np.flatnonzero(band[order[1:]] == band[order[:-1]])
            # Pair each row with the previous one in its bucket and with the first one.
            starts = np.concatenate(([True], band[order[1:]] != band[order[:-1]]))
            first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
            found.append(np.stack((order[same], order[same + 1]), axis=1))
            found.append(np.stack((first[same + 1], order[same + 1]), axis=1))
        pairs, agreeing = np.unique(np.concatenate(found), axis=0, return_counts=True)
        # The more bands agree, the more similar the texts are likely to be.
        pairs = pairs[np.argsort(-agreeing, kind="stable")]
        pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (digests[pairs[:, 0]] != digests[pairs[:, 1]])]
        if len(pairs) > _MAX_PAIRS:
            self._report.notes.append(
                f"near-duplicates, {language}: only the {_MAX_PAIRS:,} most likely of {len(pairs):,} candidate pairs were "
                "compared"
            )
            pairs = pairs[:_MAX_PAIRS]
        rows = ((int(numbers[a]), int(numbers[b])) for a, b in pairs)
        self._pairs[language] = [(a, b) for a, b in rows if not self._rows.are_twins(a, b)]
        self._texts[language] = {number: "" for pair in self._pairs[language] for number in pair}
        # Free the memory.
        seen.bands = array("I")

    @property
    def needs_texts(self) -> bool:
        """Whether the files must be read again to compare texts."""
        return any(self._texts.values())

    def add_text(self, number: int, language: str, text: str) -> None:
        """Add one cell, folded, when the files are read again."""
        wanted = self._texts.get(language, {})
        if number in wanted:
            wanted[number] = text

    def compare(self) -> None:
        """Compare the selected pairs and report near-duplicates, each row once."""
        for language, pairs in self._pairs.items():
            best: dict[int, tuple[float, int]] = {}
            for one, other in pairs:
                a, b = trigrams(self._texts[language][one]), trigrams(self._texts[language][other])
                similarity = len(a & b) / len(a | b)
                if self._near is not None and similarity >= self._near:
                    best[other] = max(best.get(other, (0.0, 0)), (similarity, one))
            for other, (similarity, one) in sorted(best.items()):
                self._add_finding(
                    language, other, one, f"the text has a similarity of {similarity:.2f} to", exact=False
                )

    def _add_finding(self, language: str, number: int, first: int, what: str, exact: bool) -> None:
        split, before = self._rows.split(number), self._rows.split(first)
        across = "" if split == before else f" in the split '{before}'" if before else " without a split"
        check = ("leakage" if across else "duplicates") if exact else "near-duplicates"
        message = f"{what} {self._rows.place(first)}{across}"
        self._report.add(check, self._rows.place(number), message, language)


def _repeats(digests: Any) -> Iterator[tuple[int, int]]:
    """Yield the positions of repeated digests, each with the position of its first occurrence."""
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    begins = first[inverse]
    for k in np.flatnonzero(begins != np.arange(len(digests))):
        yield int(k), int(begins[k])


def _min_hash() -> Any:
    try:
        from datasketch import MinHash
    except ImportError:
        raise UserError(
            "The check for near-duplicates needs the library datasketch, which is not installed; "
            "run pip install 'babelguard[corpus]', or skip this check with `skip` near-duplicates."
        ) from None
    # CRC-32 is fast in Python, and good enough for trigrams because datasketch permutes the hashes.
    return MinHash(num_perm=_BANDS * _IN_BAND, hashfunc=zlib.crc32)
