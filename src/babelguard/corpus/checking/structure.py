"""How rows belong together: ids, languages of a split, twins, topics."""

from __future__ import annotations

from array import array
from collections import defaultdict

from babelguard.corpus.checking.columns import column_of
from babelguard.corpus.checking.reader import RawRow
from babelguard.corpus.checking.report import Place, Report
from babelguard.corpus.checking.state import Rows
from babelguard.corpus.checking.text import is_empty


class Structure:
    """Takes rows one by one, and notes at the end what does not fit together.

    Args:
        rows: Places of the rows; filled by the caller.
        report: Where findings are noted.
    """

    def __init__(self, rows: Rows, report: Report) -> None:
        self._rows = rows
        self._report = report
        self._first: dict[str, int] = {}
        self._codes: list[str] = []
        self._has = array("Q")  # a bit for each language of a row
        self._topics: dict[str, dict[str, int]] = defaultdict(dict)

    def row(self, number: int, row: RawRow) -> None:
        """Take one row."""
        if row.place.id and self._first.setdefault(row.place.id, number) != number:
            first = self._rows.place(self._first[row.place.id])
            self._report.add("rows", row.place, f"the id is that of {first.file}:{first.line}; give each its own")
        bits = 0
        for code, text in row.cells.items():
            if not is_empty(text):
                if code not in self._codes:
                    self._codes.append(code)
                bits |= 1 << self._codes.index(code)
        self._has.append(bits)
        if (topic := row.meta.get("topic", "").strip()) and row.split:
            self._topics[topic].setdefault(row.split, number)

    def finish(self) -> None:
        """Note what only shows when all rows are there."""
        self._parallel()
        self._twins()
        for topic, splits in self._topics.items():
            (first, number), *others = splits.items()
            for split, other in others:
                what = f"the topic '{topic}' of the split {split} is also in {first} ({self._rows.place(number)})"
                self._report.add("topics", self._rows.place(other), what)

    def _parallel(self) -> None:
        # Of each split and file: the numbers of its rows.
        groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number in range(len(self._rows)):
            groups[self._rows.split(number)][self._rows.file(number)].append(number)
        for split, files in groups.items():
            every = 0
            for numbers in files.values():
                for number in numbers:
                    every |= self._has[number]
            named = f"of the split {split}" if split else "without a split"
            for file, numbers in files.items():
                for bit, code in enumerate(self._codes):
                    if not every >> bit & 1:
                        continue
                    lacking = [number for number in numbers if not self._has[number] >> bit & 1]
                    if len(lacking) == len(numbers):
                        what = f"no row {named} has '{column_of(code)}', which other files have"
                        self._report.add("parallel", Place(file), what, code)
                        continue
                    for number in lacking:
                        what = f"'{column_of(code)}' is missing or empty, which other rows {named} have"
                        self._report.add("parallel", self._rows.place(number), what, code)

    def _twins(self) -> None:
        for number, twin in self._rows.twins.items():
            place, other = self._rows.place(number), self._first.get(twin)
            if other is None:
                self._report.add("twins", place, f"the twin '{twin}' does not exist")
            elif self._rows.twins.get(other) != place.id or other == number:
                back = self._rows.twins.get(other)
                named = f"'{back}'" if back else "none"
                self._report.add("twins", place, f"the twin '{twin}' names {named} in its turn")
            elif self._rows.split(other) != self._rows.split(number):
                self._report.add("twins", place, f"the twin '{twin}' is in the split {self._rows.split(other)}")
