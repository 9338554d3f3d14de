"""The language of each cell, by py3langid."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

from babelguard.corpus.checking.report import Place, Report
from babelguard.errors import UserError
from babelguard.languages import LANGUAGES, display_name

# Fewer letters do not tell a language ("PDF?").
_FEW_LETTERS = 4
# A column of fewer cells is not judged as a whole.
_FEW_CELLS = 10


class Languages:
    """Notes cells that another language fits clearly better, and columns most of whose cells look like another one.

    The identifier chooses among the languages that babelguard knows: with rarer ones and dialects in the race, short
    texts often come out as one of those.

    Args:
        report: Where findings are noted.
        margin: By how much another language must be more probable.

    Raises:
        UserError: if py3langid is missing.
    """

    def __init__(self, report: Report, margin: float) -> None:
        self._model, self._known = _model()
        self._report = report
        self._margin = margin
        self._seen: dict[str, Counter[str]] = {}
        self._file: dict[str, str] = {}

    def cell(self, place: Place, language: str, text: str) -> None:
        """Take one cell."""
        if language not in self._known or sum(map(str.isalpha, text)) < _FEW_LETTERS:
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


@cache
def _model() -> tuple[Any, list[str]]:
    """The identifier, and the languages that it chooses among."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise UserError(
            "Telling languages needs the library py3langid, which is not installed; "
            "run pip install 'babelguard[corpus]', or leave the check out with --skip language."
        ) from None
    # An instance of its own: the module's functions share one, whose probabilities are not normalised.
    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = sorted(LANGUAGES.keys() & set(model.labels))
    model.set_languages(known)
    return model, known
