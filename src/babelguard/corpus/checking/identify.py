"""The language of each cell, by py3langid."""

from __future__ import annotations

from collections import Counter

from babelguard.corpus.checking.report import Place, Report
from babelguard.identify import enough_letters, identifier
from babelguard.languages import display_name

# A column of fewer cells is not judged as a whole.
_FEW_CELLS = 10


class Languages:
    """Notes cells that another language fits clearly better, and columns most of whose cells look like another one.

    Args:
        report: Where findings are noted.
        margin: By how much another language must be more probable.
    """

    def __init__(self, report: Report, margin: float) -> None:
        self._model, self._known = identifier()
        self._report = report
        self._margin = margin
        self._seen: dict[str, Counter[str]] = {}
        self._file: dict[str, str] = {}

    def cell(self, place: Place, language: str, text: str) -> None:
        """Take one cell."""
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
            what = f"this reads as {display_name(likely)}: '{text[:40]}'"
            self._report.add("language", place, what, language)

    def finish(self) -> None:
        """Note whole columns, and the share of each language's cells that were recognised."""
        for language, seen in self._seen.items():
            count = seen.total()
            self._report.languages[language].identified = seen[language] / count
            likely, most = seen.most_common(1)[0]
            if likely != language and count >= _FEW_CELLS and most > count / 2:
                what = f"the language as a whole reads as {display_name(likely)} ({most:,} of {count:,} cells)"
                self._report.add("language", Place(self._file[language]), what, language)
