"""A file of prompts as rows of named cells, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from babelguard.errors import UserError

# Number of columns or values that a message lists.
_LISTED = 15


class Record(NamedTuple):
    """One row.

    Attributes:
        place: Number of the line (or of the item of a JSON list) in which it begins.
        cells: The cells by column. Every column has one; missing JSON keys are empty.
    """

    place: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        path: The file.
        columns: The names of the columns. Without a header, they are the numbers from 1.
        records: The rows.
        header: Whether the file names its columns.
        unit: What `Record.place` counts: `line`, or `item` for JSON.
        nested: Columns in which a JSON value is a list or an object.
        part: Where in the file the rows are, for the screen; empty if they are the whole file.
    """

    path: Path
    columns: tuple[str, ...]
    records: Sequence[Record]
    header: bool = True
    unit: str = "line"
    nested: frozenset[str] = field(default_factory=frozenset)
    part: str = ""

    def values(self, column: str) -> list[str]:
        """Return the distinct non-empty cells of a column, in order."""
        found = dict.fromkeys(record.cells[column].strip() for record in self.records)
        return [value for value in found if value]

    def find(self, name: str) -> str | None:
        """Return the column with this name, in upper or lower case, or the column at this position (`2`)."""
        if name in self.columns:
            return name
        near = [column for column in self.columns if column.casefold() == name.strip().casefold()]
        if len(near) == 1:
            return near[0]
        if name.isdecimal() and len(name) < 6 and 1 <= int(name) <= len(self.columns):
            return self.columns[int(name) - 1]
        return None

    def mistake(self, record: Record, what: str) -> UserError:
        """Create the error for one row."""
        return UserError(f"In {self.unit} {record.place} of {self.path}, {what}.")

    def described(self) -> str:
        """Return the beginning of a message: the file and its columns."""
        if self.path.suffix.lower() == ".txt":
            return f"The file {self.path} is plain text"
        if self.header:
            return f"The file {self.path} has the {_plural('column', self.columns)} {listed(self.columns)}"
        count = len(self.columns)
        first = self.records[0].cells[self.columns[0]]
        shown = first if len(first) <= 40 else f"{first[:40]}..."
        return f"The file {self.path} has no header and {count} {_plural('column', self.columns)} (it begins with '{shown}')"


def listed(names: Sequence[str]) -> str:
    """List names in a message. A long list is cut."""
    shown = [name if len(name) <= 40 else f"{name[:40]}..." for name in names[:_LISTED]]
    more = [f"{len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join(shown + more)


def _plural(word: str, things: Sequence[str]) -> str:
    return word if len(things) == 1 else f"{word}s"
