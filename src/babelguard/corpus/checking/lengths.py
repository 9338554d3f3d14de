"""Cells that are much longer or shorter than their English cell, measured by what is usual for the language."""

from __future__ import annotations

import math
from array import array
from typing import Any

import numpy as np

from babelguard.corpus.checking.report import Report
from babelguard.corpus.checking.state import Rows

# Fewer cells do not give a median.
_FEW_CELLS = 20
# Makes the median absolute deviation of normal values equal their standard deviation.
_NORMAL = 1.4826
# On the corpus that ships the spread is 0.11 to 0.18; a column of nearly equal lengths must not fail on a letter.
_LEAST_SPREAD = 0.05


def outliers(values: Any, mads: float, least: float) -> tuple[float, Any]:
    """The median of values, and how many deviations each is from it; with too few values all are 0.

    Args:
        values: One number a cell.
        mads: Deviations from which a value is an outlier.
        least: Least deviation that is taken for one.

    Returns:
        The median, and the distances (signed, 0 where a value is no outlier) in deviations.
    """
    middle = float(np.median(values))
    distance = values - middle
    spread = max(least, _NORMAL * float(np.median(np.abs(distance))))
    distance = distance / spread
    found = np.abs(distance) > mads
    return middle, np.where(found & (len(values) >= _FEW_CELLS), distance, 0.0)


class Lengths:
    """Collects the ratios and notes the outliers of each language at the end.

    Args:
        rows: Places of the rows.
        report: Where findings are noted.
        mads: Deviations from which a cell fails.
    """

    def __init__(self, rows: Rows, report: Report, mads: float) -> None:
        self._rows = rows
        self._report = report
        self._mads = mads
        self._ratios: dict[str, tuple[array[int], array[float]]] = {}

    def cell(self, number: int, language: str, text: str, english: str) -> None:
        """Take one cell and the English cell of its row, both not empty."""
        numbers, ratios = self._ratios.setdefault(language, (array("I"), array("f")))
        numbers.append(number)
        ratios.append(math.log(len(text) / len(english)))

    def finish(self) -> None:
        """Note the outliers."""
        for language, (numbers, ratios) in self._ratios.items():
            middle, distance = outliers(np.frombuffer(ratios, np.float32), self._mads, _LEAST_SPREAD)
            self._report.languages[language].length = math.exp(middle)
            for k in np.flatnonzero(distance):
                what = f"{math.exp(ratios[k]):.2f} times as long as English, where {math.exp(middle):.2f} is usual"
                self._report.add("length", self._rows.place(numbers[k]), what, language)
