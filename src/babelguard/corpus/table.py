"""The rows of a CSV file, for the loader, which stops at the first mistake, and for the checks, which read on."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

# Python's own limit of 131,072 characters is less than some prompts have. Without any, a quotation mark that is never
# closed would take the rest of a large file into memory.
_LONGEST_CELL = 10_000_000
_SEPARATORS = ",;\t"


class BrokenCsv(Exception):
    """The row that begins in a line is not valid CSV, and nothing after it can be read."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


class CsvRow(NamedTuple):
    """The cells of one row, the line in which it begins, and what separates them."""

    line: int
    cells: list[str]
    delimiter: str

    def names(self) -> list[str]:
        """The cells as a header."""
        return [cell.strip() for cell in self.cells]

    def fault(self, header: Sequence[str]) -> str | None:
        """What is wrong with a row that has not the columns of the header."""
        count = len(self.cells)
        if count == len(header):
            return None
        what = f"the row has {count} cells and the header {len(header)} columns"
        if count < len(header):
            return f"{what}, so '{header[count]}' is missing; add the cell"
        return f"{what}; put a text that holds '{self.delimiter}' in quotation marks"


def csv_rows(lines: Iterable[str]) -> Iterator[CsvRow]:
    """The rows, the header first; lines without any text are left out.

    Args:
        lines: With their line ends.

    Raises:
        BrokenCsv: for a row of which nobody can say where it ends.
    """
    csv.field_size_limit(max(_LONGEST_CELL, csv.field_size_limit()))
    source = iter(lines)
    begins = 1  # where the row begins; the reader only knows where it ends
    for first in source:
        if first.strip(f"{_SEPARATORS} \r\n"):
            break
        begins += 1
    else:
        return
    skipped, delimiter = begins - 1, _delimiter(first)
    # Strict, or a quote that is never closed would swallow the rest of the file.
    reader = csv.reader(chain([first], source), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield CsvRow(begins, cells, delimiter)
            begins = skipped + reader.line_num + 1
    except csv.Error as error:
        raise BrokenCsv(begins, str(error)) from None


def _delimiter(header: str) -> str:
    """A comma, or the semicolon or tab that the header has instead."""
    return "," if "," in header else max(";\t", key=header.count)
