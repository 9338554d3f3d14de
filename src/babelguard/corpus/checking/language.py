"""Language identification of each cell."""

from __future__ import annotations

from collections import Counter

from babelguard.corpus.checking.report import Place, Report
from babelguard.language_id import enough_letters, identifier
from babelguard.languages import display_name

# Minimum number of cells to check a column as a whole.
_MIN_CELLS = 10


class CellLanguages:
    """Reports cells, and whole columns, that appear to be in another language.

    Args:
        report: The report to add findings to.
        margin: Minimum lead in probability of another language, 0 to 1.
    """

    def __init__(self, report: Report, margin: float) -> None:
        self._model, self._known = identifier()
        self._report = report
        self._margin = margin
        self._seen: dict[str, Counter[str]] = {}
        self._file: dict[str, str] = {}

    def add_cell(self, place: Place, language: str, text: str) -> None:
        """Add one cell."""
        if language not in self._known or not enough_letters(text):
            return
        ranked = self._model.rank(text)
        likely, probability = ranked[0]
        self._seen.setdefault(language, Counter())[likely] += 1
        self._file.setdefault(language, place.file)
        if likely == language:
            return
        margin = probability - dict(ranked)[language]
        if margin > self._margin:
            what = f"the text appears to be {display_name(likely)}: '{text[:40]}'"
            self._report.add("language", place, what, language)

    def finish(self) -> None:
        """Report whole columns, and store the share of cells identified as each language."""
        for language, seen in self._seen.items():
            count = seen.total()
            self._report.languages[language].identified = seen[language] / count
            likely, most = seen.most_common(1)[0]
            if likely != language and count >= _MIN_CELLS and most > count / 2:
                what = f"the column as a whole appears to be {display_name(likely)} ({most:,} of {count:,} cells)"
                self._report.add("language", Place(self._file[language]), what, language)
