"""Cells with an unusual length compared with their English cell."""

from __future__ import annotations

import math
from array import array
from typing import Any

import numpy as np

from babelguard.corpus.checking.report import Report
from babelguard.corpus.checking.state import Rows

# Minimum number of cells for a median.
_MIN_CELLS = 20
# Scales the median absolute deviation to the standard deviation of a normal distribution.
_NORMAL = 1.4826
# Minimum spread, so that small differences between nearly equal lengths are not reported. In the built-in corpus the
# spread is 0.11 to 0.18.
_MIN_SPREAD = 0.05


def outliers(values: Any, mads: float, minimum: float) -> tuple[float, Any]:
    """Find outliers by the median absolute deviation.

    Args:
        values: One number per cell.
        mads: Number of deviations from the median above which a value is an outlier.
        minimum: Minimum size of a deviation.

    Returns:
        The median, and for each value its signed distance in deviations, or 0 if it is not an outlier. With too few
        values, all distances are 0.
    """
    middle = float(np.median(values))
    distance = values - middle
    spread = max(minimum, _NORMAL * float(np.median(np.abs(distance))))
    distance = distance / spread
    found = np.abs(distance) > mads
    return middle, np.where(found & (len(values) >= _MIN_CELLS), distance, 0.0)


class Lengths:
    """Collects length ratios, and reports the outliers of each language.

    Args:
        rows: Places of the rows.
        report: The report to add findings to.
        mads: Number of deviations from the language's median from which a cell fails.
    """

    def __init__(self, rows: Rows, report: Report, mads: float) -> None:
        self._rows = rows
        self._report = report
        self._mads = mads
        self._ratios: dict[str, tuple[array[int], array[float]]] = {}

    def add_cell(self, number: int, language: str, text: str, english: str) -> None:
        """Add one cell and the English cell of its row. Both must have text."""
        numbers, ratios = self._ratios.setdefault(language, (array("I"), array("f")))
        numbers.append(number)
        ratios.append(math.log(len(text) / len(english)))

    def finish(self) -> None:
        """Report the outliers."""
        for language, (numbers, ratios) in self._ratios.items():
            middle, distance = outliers(np.frombuffer(ratios, np.float32), self._mads, _MIN_SPREAD)
            self._report.languages[language].length = math.exp(middle)
            for k in np.flatnonzero(distance):
                ratio = math.exp(ratios[k])
                what = (
                    f"the text is {ratio:.2f} times as long as English (median of the language: {math.exp(middle):.2f})"
                )
                self._report.add("length", self._rows.place(numbers[k]), what, language)
