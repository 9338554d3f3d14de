"""Read CSV, TSV, JSON, JSONL, Parquet and plain text into a `Table`."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

from babelguard.corpus.csv_rows import BrokenCsv, csv_rows
from babelguard.corpus.header import mistake
from babelguard.corpus.reading.decode import read_bytes, read_text
from babelguard.corpus.reading.json_rows import read_json, read_json_lines, table_of_objects
from babelguard.corpus.reading.names import TEXT_NAMES, YES_NO_NAMES, column_code, is_known_name
from babelguard.corpus.reading.table import Record, Table
from babelguard.errors import UserError
from babelguard.files import LINE_END

SUFFIXES = (".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".parquet", ".txt")
_SEPARATORS = ",;\t"
# A name of a column: up to four words, no sentence.
_NAME = re.compile(r"[A-Za-z_][\w .\-/()#:]{0,39}")
_ENDS_A_SENTENCE = re.compile(r"[.!?:,;]$")


def read_table(path: Path, named: Sequence[str] = ()) -> Table:
    """Read a file of prompts.

    Args:
        path: The file. Its ending determines the format.
        named: Columns that the user named. A CSV file whose first row contains one has a header.

    Raises:
        UserError: If the file cannot be read completely.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES and not path.is_dir() and path.exists():
        raise UserError(f"The name of {path} ends in none of {', '.join(SUFFIXES)}; rename or convert the file.")
    if kind == ".parquet":
        table = _read_parquet(path)
    else:
        text = read_text(path)
        if kind == ".txt":
            table = _read_lines(path, text)
        elif kind in (".csv", ".tsv", ".tab"):
            table = _read_csv(path, text, named)
        elif kind == ".json":
            table = read_json(path, text)
        else:
            table = read_json_lines(path, text)
    if not table.records or not table.columns:
        raise UserError(f"The file {path} contains no rows; write one row per prompt.")
    return table


def _read_lines(path: Path, text: str) -> Table:
    records = [Record(k, {"1": line}) for k, line in enumerate(LINE_END.split(text), start=1) if line.strip()]
    first = records[0].cells["1"]
    for separator in _SEPARATORS:
        names = [name.strip().strip('"') for name in first.split(separator)]
        if len(names) > 1 and all(is_known_name(name) for name in names):
            raise UserError(f"The file {path} begins with column names ({first.strip()}); rename it to .csv or .tsv.")
    return Table(path, ("1",), records, header=False)


def _read_csv(path: Path, text: str, named: Sequence[str]) -> Table:
    first = next(line for line in LINE_END.split(text) if line.strip())
    delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else None
    skipped = 0
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # written by Excel
        delimiter = first.strip()[-1]
        before, end = text.split(first, 1)
        skipped = len(LINE_END.findall(before)) + 1
        text = LINE_END.sub("", end, count=1)
    elif delimiter is None and not any(separator in first for separator in _SEPARATORS):
        delimiter = ","  # a single column
    columns: tuple[str, ...] = ()
    records: list[Record] = []
    header = True
    try:
        for row in csv_rows(io.StringIO(text, newline=""), delimiter=delimiter):
            if not columns:
                header = _is_header(row.names(), named)
                columns = _unique(path, row.line, row.names()) if header else _numbers(row.cells)
                if header:
                    continue
            if fault := row.fault(columns):
                raise mistake(path, row.line + skipped, fault)
            records.append(Record(row.line + skipped, dict(zip(columns, row.cells, strict=True))))
    except BrokenCsv as error:
        what = f"the row that begins here is not valid CSV ({error}); check its quotation marks"
        raise mistake(path, error.line + skipped, what) from None
    return Table(path, columns, records, header=header)


def _is_header(cells: Sequence[str], named: Sequence[str]) -> bool:
    """Whether the first row of a file holds column names rather than prompts."""
    wanted = {name.casefold() for name in named if not name.isdecimal()} | set(TEXT_NAMES)
    if any(cell.casefold() in wanted for cell in cells):
        return True
    filled = [cell for cell in cells if cell]
    if not filled or not all(_is_a_name(cell) for cell in filled):
        return False
    # A row such as `Bake bread,harmless`.
    return any(is_known_name(cell) for cell in filled if cell.casefold() not in YES_NO_NAMES) or not any(
        cell.casefold() in YES_NO_NAMES for cell in filled
    )


def _is_a_name(cell: str) -> bool:
    if column_code(cell) is not None:
        return True
    if not cell.isascii():
        return len(cell) <= 4
    return bool(_NAME.fullmatch(cell)) and len(cell.split()) <= 4 and not _ENDS_A_SENTENCE.search(cell)


def _unique(path: Path, line: int, names: Sequence[str]) -> tuple[str, ...]:
    # The index that pandas writes has no name.
    found = tuple(name or f"column {k}" for k, name in enumerate(names, start=1))
    repeated = next((name for k, name in enumerate(found) if name in found[:k]), None)
    if repeated is not None:
        raise mistake(path, line, f"the column '{repeated}' occurs twice; rename or remove one of them")
    return found


def _numbers(cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(k) for k in range(1, len(cells) + 1))


def _read_parquet(path: Path) -> Table:
    data = read_bytes(path)
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise UserError(
            f"Reading {path} needs the package pyarrow; install it, or save the file as JSONL or CSV."
        ) from None
    try:
        rows = parquet.read_table(io.BytesIO(data)).to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise UserError(
            f"The file {path} is not a valid Parquet file ({' '.join(str(error).split())[:200]})."
        ) from None
    return table_of_objects(path, list(enumerate(rows, start=1)), unit="row")
