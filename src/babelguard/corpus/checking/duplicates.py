"""Texts that occur twice within a language, exactly or nearly, in one split or in two."""

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

# Two texts are compared if the minima of a band of hashes agree in one of the bands: with a similarity of 0.7 in
# 99.6 % of the cases, with 0.3 in 15 %.
_BANDS, _IN_BAND = 20, 4
# Of rows made from one template every pair is a candidate; the likeliest are compared, and the report says so.
_MOST_PAIRS = 20_000


def trigrams(text: str) -> set[str]:
    """The character trigrams of a folded text, of a shorter one the text itself."""
    return {text[k : k + 3] for k in range(len(text) - 2)} or {text}


@dataclass
class _Seen:
    numbers: array[int] = field(default_factory=lambda: array("I"))
    digests: array[int] = field(default_factory=lambda: array("Q"))
    bands: array[int] = field(default_factory=lambda: array("I"))


class Duplicates:
    """Remembers a hash of every cell, and minimum hashes of its trigrams if near-duplicates are asked for.

    Args:
        rows: Places, splits and twins of the rows.
        report: Where findings are noted.
        near: Jaccard similarity from which two texts are near-duplicates; None: they are not looked for.

    Raises:
        UserError: if datasketch is missing and needed.
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

    def cell(self, number: int, language: str, text: str) -> None:
        """Take one cell, folded."""
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
        """Note exact duplicates; work out which pairs must be compared."""
        for language, seen in self._seen.items():
            numbers = np.frombuffer(seen.numbers, np.uint32)
            digests = np.frombuffer(seen.digests, np.uint64)
            for k, first in _repeats(digests):
                self._note(language, int(numbers[k]), int(numbers[first]), "this is the text of", exact=True)
            if self._near is not None:
                self._find_pairs(language, seen, numbers, digests)

    def _find_pairs(self, language: str, seen: _Seen, numbers: Any, digests: Any) -> None:
        bands = np.frombuffer(seen.bands, np.uint32).reshape(-1, _BANDS)
        found = [np.empty((0, 2), np.int64)]
        for band in bands.T:
            order = np.argsort(band, kind="stable")
            same = np.flatnonzero(band[order[1:]] == band[order[:-1]])
            # Each row with the one before it in its bucket, and with the first of the bucket.
            starts = np.concatenate(([True], band[order[1:]] != band[order[:-1]]))
            first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
            found.append(np.stack((order[same], order[same + 1]), axis=1))
            found.append(np.stack((first[same + 1], order[same + 1]), axis=1))
        pairs, bands_alike = np.unique(np.concatenate(found), axis=0, return_counts=True)
        # The more bands agree, the more alike two texts are likely to be.
        pairs = pairs[np.argsort(-bands_alike, kind="stable")]
        pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (digests[pairs[:, 0]] != digests[pairs[:, 1]])]
        if len(pairs) > _MOST_PAIRS:
            self._report.notes.append(
                f"near-duplicates, {language}: {len(pairs):,} pairs may be alike, and the likeliest {_MOST_PAIRS:,} were compared"
            )
            pairs = pairs[:_MOST_PAIRS]
        rows = ((int(numbers[a]), int(numbers[b])) for a, b in pairs)
        self._pairs[language] = [(a, b) for a, b in rows if not self._rows.are_twins(a, b)]
        self._texts[language] = {number: "" for pair in self._pairs[language] for number in pair}
        # What was needed to find them is not needed any more.
        seen.bands = array("I")

    @property
    def wants_texts(self) -> bool:
        """Whether the files must be read once more."""
        return any(self._texts.values())

    def again(self, number: int, language: str, text: str) -> None:
        """Take one cell of the second reading."""
        wanted = self._texts.get(language, {})
        if number in wanted:
            wanted[number] = text

    def compare(self) -> None:
        """Note the near-duplicates among the pairs, each row once."""
        for language, pairs in self._pairs.items():
            best: dict[int, tuple[float, int]] = {}
            for one, other in pairs:
                a, b = trigrams(self._texts[language][one]), trigrams(self._texts[language][other])
                alike = len(a & b) / len(a | b)
                if self._near is not None and alike >= self._near:
                    best[other] = max(best.get(other, (0.0, 0)), (alike, one))
            for other, (alike, one) in sorted(best.items()):
                self._note(language, other, one, f"this is {alike:.2f} alike to the text of", exact=False)

    def _note(self, language: str, number: int, first: int, what: str, exact: bool) -> None:
        split, before = self._rows.split(number), self._rows.split(first)
        across = f" in the split {before or 'without a name'}" if split != before else ""
        check = ("leakage" if across else "duplicates") if exact else "near-duplicates"
        message = f"{what} {self._rows.place(first)}{across}"
        self._report.add(check, self._rows.place(number), message, language)


def _repeats(digests: Any) -> Iterator[tuple[int, int]]:
    """Positions of digests that occurred before, each with its first one, in order."""
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    begins = first[inverse]
    for k in np.flatnonzero(begins != np.arange(len(digests))):
        yield int(k), int(begins[k])


def _min_hash() -> Any:
    try:
        from datasketch import MinHash
    except ImportError:
        raise UserError(
            "Looking for near-duplicates needs the library datasketch, which is not installed; "
            "run pip install 'babelguard[corpus]', or leave the check out with --skip near-duplicates."
        ) from None
    # CRC-32 is a C function of Python's own and spreads trigrams well enough under datasketch's own mixing.
    return MinHash(num_perm=_BANDS * _IN_BAND, hashfunc=zlib.crc32)
