"""Read a file row by row and continue after a mistake. Everything that the loader rejects is added to the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from babelguard.corpus.checking.columns import Columns
from babelguard.corpus.checking.report import Finding, Place, Report
from babelguard.corpus.csv_rows import BrokenCsv, csv_rows
from babelguard.corpus.header import EXACT
from babelguard.corpus.schema import SPLITS
from babelguard.corpus.text import clean, hidden_fault
from babelguard.errors import UserError
from babelguard.judges.base import EXPECTED, LABELS

_NAMES = {"\r\n": "CRLF", "\r": "CR", "\n": "LF"}
_STRICT = json.JSONDecoder(object_pairs_hook=list)
# Raw control characters inside JSON strings are reported, but the row can still be read.
_LENIENT = json.JSONDecoder(strict=False, object_pairs_hook=list)


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row exactly as in the file: nothing is stripped, normalised or left out.

    Attributes:
        place: File, line and id.
        meta: Fields that are not languages.
        cells: Texts by language code, '' for empty cells. Bytes that are not UTF-8 are lone surrogates.
    """

    place: Place
    meta: Mapping[str, str]
    cells: Mapping[str, str]

    def field(self, name: str) -> str:
        """Return a field as the loader would read it, or '' if the row does not have it."""
        return clean(self.meta.get(name, ""))

    @property
    def split(self) -> str:
        """The split, or '' if it is missing or unknown."""
        name = self.field("split")
        return name if name in SPLITS else ""


def read_rows(path: Path, report: Report) -> Iterator[RawRow]:
    """Yield the readable rows of a CSV or JSONL file, one at a time.

    Raises:
        UserError: If nothing in the file can be read.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".jsonl"):
        raise UserError(f"The name of {path} ends in neither .csv nor .jsonl; give a CSV or JSONL file.")
    try:
        _refuse_other_encodings(path)
        # surrogateescape marks bytes that are not UTF-8, and newline="" keeps the line ends.
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
        raise UserError(f"The file {path} contains no readable row; {_why(report.first_fault(str(path)))}")


def _why(fault: Finding | None) -> str:
    if fault is None:
        return "write one row per prompt."
    return f"the first problem is in line {fault.place.line}: {fault.message}{'' if fault.message[-1] in '.?' else '.'}"


def count_lines(path: Path) -> int:
    """Return the approximate number of lines of a file, for a progress bar."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 16), b""))
    except OSError:
        return 0


def _refuse_other_encodings(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise UserError(f"The file {path} is empty; write one row per prompt, with id, label and the languages.")
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or max(even, odd) > len(head) // 5:
        raise UserError(f"The file {path} is UTF-16, UTF-32 or not a text file; save it as UTF-8.")


class _Lines:
    """Lines of a file without its byte-order mark. Counts the line ends of rows."""

    def __init__(self, file: TextIO, path: Path, report: Report) -> None:
        self.number = 0
        self._file = file
        self._path = path
        self._report = report
        self._end = ""
        self._ends: Counter[str] = Counter()

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.number += 1
            if self.number == 1 and line.startswith("\ufeff"):
                what = "the file begins with a byte-order mark; save it as UTF-8 without one"
                self._report.add("normalisation", Place(str(self._path), 1), what)
                line = line.lstrip("\ufeff")
            self._end = next((end for end in _NAMES if line.endswith(end)), "")
            yield line

    def end_row(self) -> None:
        """Count the line end of the last line read. Line ends inside quoted cells are not counted."""
        if self._end:
            self._ends[self._end] += 1

    def close(self, csv: bool) -> None:
        """Report unexpected line ends. LF is expected; a CSV file may use CRLF throughout (RFC 4180)."""
        if set(self._ends) <= {"\n"} or (csv and set(self._ends) == {"\r\n"}):
            return
        ends = ", ".join(f"{count:,} {_NAMES[end]}" for end, count in self._ends.most_common())
        self._report.add("normalisation", Place(str(self._path)), f"the lines end in {ends}; use LF")


def _jsonl(path: Path, lines: _Lines, report: Report) -> Iterator[RawRow]:
    columns = Columns(report)
    for line in lines:
        lines.end_row()
        if not line.strip():
            continue
        place = Place(str(path), lines.number)
        try:
            pairs = _decoded(line, place, report)
        except (ValueError, RecursionError) as error:
            what = getattr(error, "msg", "for Python")
            report.add("rows", place, f"this is not valid JSON ({what}); write one object per line")
            continue
        if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
            report.add("rows", place, "this is not a JSON object; write one object per line, from column name to text")
            continue
        yield _row(place, pairs, columns, report)


def _decoded(line: str, place: Place, report: Report) -> Any:
    try:
        return _STRICT.decode(line)
    except json.JSONDecodeError as error:
        pairs = _LENIENT.decode(line)
        what = f"this is not valid JSON ({error.msg} column {error.colno}); use an escape such as \\t, or remove the character"
        report.add("rows", place, what)
        return pairs


def _csv(path: Path, lines: _Lines, report: Report) -> Iterator[RawRow]:
    columns = Columns(report)
    header: list[str] = []
    try:
        for row in csv_rows(lines):
            lines.end_row()
            place = Place(str(path), row.line)
            if not header:
                header = row.names()
                columns.interpret(place, header)
            elif fault := row.fault(header):
                report.add("rows", place, fault)
            else:
                yield _row(place, list(zip(header, row.cells, strict=True)), columns, report)
    except BrokenCsv as error:
        what = (
            f"the file is not valid CSV from here on ({error}) and was not checked further; check its quotation marks"
        )
        report.add("rows", Place(str(path), error.line), what)


def _row(place: Place, pairs: list[tuple[str, Any]], columns: Columns, report: Report) -> RawRow:
    meta: dict[str, str] = {}
    cells: dict[str, str] = {}
    for (name, value), (kind, code) in zip(pairs, columns.interpret(place, [name for name, _ in pairs]), strict=True):
        if kind == "ignored":
            continue
        if value is not None and not isinstance(value, str):
            report.add("rows", place, f"the field '{name}' is not a string; write a string")
        elif kind == "language":
            cells[code] = value or ""
        elif value is not None:
            meta[code] = value
    row = RawRow(place._replace(id=clean(meta.get("id", ""))), meta, cells)
    for fault in _field_faults(row):
        report.add("rows", row.place, fault)
    return row


def _field_faults(row: RawRow) -> Iterator[str]:
    """Describe problems of the fields that are compared exactly."""
    if not row.place.id:
        yield "the row has no id; give every row a unique id"
    for name in EXACT:
        if fault := hidden_fault(row.field(name)):
            yield f"the field '{name}' {fault}"
    for name, allowed in (("label", LABELS), ("split", ("", *SPLITS)), ("expected", ("", *EXPECTED))):
        given = row.field(name)
        if given not in allowed and hidden_fault(given) is None:
            yield f"the {name} is '{given}'; use {' or '.join(filter(None, allowed))}"
