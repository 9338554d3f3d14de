"""The CSV reader, used by the loader, by `corpus check` and for the review file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

# Python's default limit of 131,072 characters is too small for some prompts. Without a limit, a missing closing quote
# would read the rest of a large file into memory.
_MAX_CELL = 10_000_000
_SEPARATORS = ",;\t"


class BrokenCsv(Exception):
    """A row is not valid CSV, so the rest of the file cannot be read.

    Attributes:
        line: Line in which the row begins.
    """

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


class CsvRow(NamedTuple):
    """One row.

    Attributes:
        line: Line in which the row begins.
        cells: Its cells.
        delimiter: Character between the cells.
    """

    line: int
    cells: list[str]
    delimiter: str

    def names(self) -> list[str]:
        """Return the cells as column names."""
        return [cell.strip() for cell in self.cells]

    def fault(self, header: Sequence[str]) -> str | None:
        """Describe the difference if the row has more or fewer cells than the header."""
        count = len(self.cells)
        if count == len(header):
            return None
        what = f"the row has {count} cells but the header has {len(header)} columns"
        if count < len(header):
            return f"{what}, so '{header[count]}' is missing; add the cell"
        return f"{what}; put texts that contain '{self.delimiter}' in quotation marks"


def csv_rows(lines: Iterable[str], max_cell: int = _MAX_CELL, delimiter: str | None = None) -> Iterator[CsvRow]:
    """Read the rows, starting with the header. Lines without text are skipped.

    Args:
        lines: Lines with their line ends.
        max_cell: Characters that a cell may have.
        delimiter: Character between the cells; default: the one that the header contains.

    Raises:
        BrokenCsv: If a row is not valid CSV.
    """
    csv.field_size_limit(max(max_cell, csv.field_size_limit()))
    source = iter(lines)
    begins = 1  # line in which the row begins; csv.reader only knows where it ends
    for first in source:
        if first.strip(f"{_SEPARATORS} \r\n"):
            break
        begins += 1
    else:
        return
    skipped, delimiter = begins - 1, delimiter or _delimiter(first)
    # Without `strict`, a missing closing quote would silently swallow the rest of the file.
    reader = csv.reader(chain([first], source), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield CsvRow(begins, cells, delimiter)
            begins = skipped + reader.line_num + 1
    except csv.Error as error:
        raise BrokenCsv(begins, str(error)) from None


def _delimiter(header: str) -> str:
    """Return a comma if the header contains one, else a semicolon or tab."""
    return "," if "," in header else max(";\t", key=header.count)
