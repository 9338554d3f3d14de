"""Read a file row by row and go on after a mistake; what the loader would refuse is noted in the report."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from babelguard.corpus.checking.columns import Columns
from babelguard.corpus.checking.report import Place, Report
from babelguard.corpus.load import csv_delimiter
from babelguard.corpus.schema import LABELS, SPLITS
from babelguard.errors import UserError

_NAMES = {"\r\n": "CRLF", "\r": "CR", "\n": "LF"}
# JSON as people write it: a raw control character inside a string is for the checks of the cell.
_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=list)


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it stands in the file: nothing is stripped, normalised or left out.

    Attributes:
        place: File, line and id.
        meta: The other fields that are texts.
        cells: Texts by language code; bytes that are no UTF-8 are lone surrogates.
    """

    place: Place
    meta: Mapping[str, str]
    cells: Mapping[str, str]

    @property
    def split(self) -> str:
        """The split, empty if the row has none or an unknown one."""
        name = self.meta.get("split", "").strip()
        return name if name in SPLITS else ""


def read_rows(path: Path, report: Report) -> Iterator[RawRow]:
    """The rows of a CSV or JSONL file that can be read at all, never more than one in memory.

    Raises:
        UserError: for a file of which nothing can be read.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".jsonl"):
        raise UserError(f"The name of {path} ends in neither .csv nor .jsonl; give a CSV or JSONL file.")
    try:
        _refuse_other_encodings(path)
        # surrogateescape keeps what is no UTF-8 recognisable in its cell; newline="" keeps the line ends.
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = _Lines(file, path, report)
            count = 0
            for row in (_jsonl if kind == ".jsonl" else _csv)(path, lines, report):
                count += 1
                yield row
    except FileNotFoundError:
        raise UserError(f"There is no file {path}; check the name.") from None
    except OSError as error:
        raise UserError(f"The file {path} cannot be read ({error.strerror or error}).") from None
    lines.close(csv=kind == ".csv")
    if not count:
        raise UserError(f"The file {path} holds no row that can be read; write one row per prompt.")


def count_lines(path: Path) -> int:
    """About how many lines a file has, for a progress bar."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 16), b""))
    except OSError:
        return 0


def _refuse_other_encodings(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise UserError(f"The file {path} is empty; write a row per prompt with id, label and the languages.")
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or max(even, odd) > len(head) // 5:
        raise UserError(f"The file {path} is UTF-16 or UTF-32, or no text at all; save it as UTF-8.")


class _Lines:
    """The lines of a file without its byte-order mark; counts how they end."""

    def __init__(self, file: TextIO, path: Path, report: Report) -> None:
        self.number = 0
        self._file = file
        self._path = path
        self._report = report
        self._ends: Counter[str] = Counter()

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.number += 1
            if self.number == 1 and line.startswith("\ufeff"):
                what = "the file begins with a byte-order mark; save it as UTF-8 without one"
                self._report.add("normalisation", Place(str(self._path), 1), what)
                line = line.removeprefix("\ufeff")
            end = line[len(line.rstrip("\r\n")) :] if line.endswith(("\r", "\n")) else ""
            if end:
                self._ends[end if end in _NAMES else end[-1:]] += 1
            yield line

    def close(self, csv: bool) -> None:
        """Note line ends that are not the kind's: LF, and for CSV (RFC 4180) as well CRLF throughout."""
        if set(self._ends) <= {"\n"} or (csv and set(self._ends) == {"\r\n"}):
            return
        ends = ", ".join(f"{count:,} {_NAMES[end]}" for end, count in self._ends.most_common())
        self._report.add("normalisation", Place(str(self._path)), f"the lines end in {ends}; use LF")


def _jsonl(path: Path, lines: _Lines, report: Report) -> Iterator[RawRow]:
    columns = Columns(report)
    for line in lines:
        if not line.strip():
            continue
        place = Place(str(path), lines.number)
        try:
            pairs = _DECODER.decode(line.strip())
        except (ValueError, RecursionError) as error:
            what = getattr(error, "msg", "for Python")
            report.add("rows", place, f"this is not valid JSON ({what}); write one object per line")
            continue
        if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
            report.add("rows", place, "this is not a JSON object; write one per line, from column to text")
            continue
        yield _row(place, pairs, columns, report)


def _csv(path: Path, lines: _Lines, report: Report) -> Iterator[RawRow]:
    columns = Columns(report)
    source = iter(lines)
    first = next((line for line in source if line.strip()), "")

    def from_first() -> Iterator[str]:
        yield first
        yield from source

    reader = csv.reader(from_first(), delimiter=csv_delimiter(first.rstrip("\r\n")), strict=True)
    header: list[str] = []
    begins = lines.number
    try:
        for cells in reader:
            place, begins = Place(str(path), begins), lines.number + 1
            if not header:
                header = [name.strip() for name in cells]
            elif cells and len(cells) != len(header):
                what = f"the row has {len(cells)} cells and the header {len(header)} columns"
                report.add("rows", place, f"{what}; it was not checked")
            elif cells:
                yield _row(place, list(zip(header, cells, strict=True)), columns, report)
    except csv.Error as error:
        what = f"from here on the file is not valid CSV ({error}), and was not checked; look at its quotation marks"
        report.add("rows", Place(str(path), begins), what)


def _row(place: Place, pairs: list[tuple[str, Any]], columns: Columns, report: Report) -> RawRow:
    meta: dict[str, str] = {}
    cells: dict[str, str] = {}
    for (name, value), (kind, code) in zip(pairs, columns.meaning(place, [name for name, _ in pairs]), strict=True):
        if value is None or kind == "ignored":
            continue
        if not isinstance(value, str):
            report.add("rows", place, f"the field '{name}' is no text; write a string")
            continue
        (cells if kind == "language" else meta)[code] = value
    place = place._replace(id=meta.get("id", "").strip())
    if not place.id:
        report.add("rows", place, "the row has no id; give each its own")
    if meta.get("label", "").strip() not in LABELS:
        report.add("rows", place, f"the label is '{meta.get('label', '')}'; write {' or '.join(LABELS)}")
    if meta.get("split", "").strip() not in ("", *SPLITS):
        report.add("rows", place, f"the split is '{meta['split']}'; write {', '.join(SPLITS)}")
    return RawRow(place, meta, cells)
