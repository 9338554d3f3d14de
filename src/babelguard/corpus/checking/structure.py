"""Checks across rows: ids, languages of a file and of a split, twins, and topics."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator

from babelguard.corpus.checking.reader import RawRow
from babelguard.corpus.checking.report import Place, Report
from babelguard.corpus.checking.state import Rows
from babelguard.corpus.header import column_of
from babelguard.corpus.text import is_empty


class Structure:
    """Collects rows, and reports inconsistencies between them.

    Args:
        rows: Places of the rows, filled by the caller.
        report: The report to add findings to.
    """

    def __init__(self, rows: Rows, report: Report) -> None:
        self._rows = rows
        self._report = report
        self._first: dict[str, int] = {}
        self._codes: list[str] = []
        self._has = array("Q")  # languages of each row, one bit per language
        # Languages of each file as bits, including those without text.
        self._named: dict[str, int] = defaultdict(int)
        self._topics: dict[str, dict[str, int]] = defaultdict(dict)

    def add_row(self, number: int, row: RawRow) -> None:
        """Add one row."""
        if row.place.id and self._first.setdefault(row.place.id, number) != number:
            first = self._rows.place(self._first[row.place.id])
            self._report.add(
                "rows", row.place, f"the id is already used in {first.file}:{first.line}; ids must be unique"
            )
        bits = 0
        for code, text in row.cells.items():
            if code not in self._codes:
                self._codes.append(code)
            bit = 1 << self._codes.index(code)
            self._named[row.place.file] |= bit
            bits |= 0 if is_empty(text) else bit
        self._has.append(bits)
        if (topic := row.field("topic")) and row.split:
            self._topics[topic].setdefault(row.split, number)

    def finish(self) -> None:
        """Report problems that can only be found after all rows were read."""
        self._parallel()
        self._twins()
        for topic, splits in self._topics.items():
            (first, number), *others = splits.items()
            for split, other in others:
                what = f"the topic '{topic}' of the split '{split}' is also in '{first}' ({self._rows.place(number)})"
                self._report.add("topics", self._rows.place(other), what)

    def _parallel(self) -> None:
        # The loader requires the same languages in all rows of a file. All files of a split should have the same too.
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        in_file: dict[str, int] = defaultdict(int)
        in_split: dict[str, int] = defaultdict(int)
        for number, bits in enumerate(self._has):
            file, split = self._rows.file(number), self._rows.split(number)
            groups[file, split].append(number)
            in_file[file] |= bits
            in_split[split] |= bits
        empty = {file: self._named[file] & ~bits for file, bits in in_file.items()}
        for file, bits in empty.items():
            for _, code in self._languages(bits):
                what = f"'{column_of(code)}' is empty in every row; fill it or remove it"
                self._report.add("parallel", Place(file), what, code)
        for (file, split), numbers in groups.items():
            rows = f"of the split '{split}'" if split else "without a split"
            for bit, code in self._languages((in_file[file] | in_split[split]) & ~empty[file]):
                lacking = [number for number in numbers if not self._has[number] & bit]
                if len(lacking) == len(numbers):
                    others = "other rows of the file" if in_file[file] & bit else "other files"
                    what = f"no row {rows} has '{column_of(code)}', but {others} do"
                    self._report.add("parallel", Place(file), what, code)
                    continue
                for number in lacking:
                    what = f"'{column_of(code)}' is missing or empty, but other rows {rows} have it"
                    self._report.add("parallel", self._rows.place(number), what, code)

    def _languages(self, bits: int) -> Iterator[tuple[int, str]]:
        """Return the bit and code of each language in a bit set."""
        return ((1 << k, code) for k, code in enumerate(self._codes) if bits >> k & 1)

    def _twins(self) -> None:
        for number, twin in self._rows.twins.items():
            place, other = self._rows.place(number), self._first.get(twin)
            if other is None:
                self._report.add("twins", place, f"the twin '{twin}' does not exist")
            elif self._rows.twins.get(other) != place.id or other == number:
                back = self._rows.twins.get(other)
                named = f"'{back}'" if back else "none"
                self._report.add("twins", place, f"the twin of '{twin}' is {named}, not this row")
            elif self._rows.split(other) != self._rows.split(number):
                self._report.add("twins", place, f"the twin '{twin}' is in the split '{self._rows.split(other)}'")
