"""The data that is kept about every row. It takes tens of bytes per row and contains no texts."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from babelguard.corpus.checking.reader import RawRow
from babelguard.corpus.checking.report import Place
from babelguard.corpus.schema import SPLITS


@dataclass
class Rows:
    """Places, splits and twins of the rows read so far. Rows are numbered from 0."""

    files: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    twins: dict[int, str] = field(default_factory=dict)
    _file: array[int] = field(default_factory=lambda: array("I"))
    _line: array[int] = field(default_factory=lambda: array("I"))
    _split: bytearray = field(default_factory=bytearray)

    def add(self, row: RawRow) -> int:
        """Add a row. Returns its number."""
        number = len(self.ids)
        if not self.files or self.files[-1] != row.place.file:
            self.files.append(row.place.file)
        self._file.append(len(self.files) - 1)
        self._line.append(row.place.line)
        self._split.append(SPLITS.index(row.split) if row.split else len(SPLITS))
        self.ids.append(row.place.id)
        if twin := row.field("twin"):
            self.twins[number] = twin
        return number

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, number: int) -> Place:
        """Return the place of a row."""
        return Place(self.files[self._file[number]], self._line[number], self.ids[number])

    def file(self, number: int) -> str:
        """Return the file of a row."""
        return self.files[self._file[number]]

    def split(self, number: int) -> str:
        """Return the split of a row, or '' if it has none."""
        return (*SPLITS, "")[self._split[number]]

    def are_twins(self, one: int, other: int) -> bool:
        """Whether two rows name each other as twins. Twins are meant to have similar wording."""
        return self.twins.get(one) == self.ids[other] and self.twins.get(other) == self.ids[one]
