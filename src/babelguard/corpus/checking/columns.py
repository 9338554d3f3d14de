"""Map column names, including ambiguous ones, to fields and languages."""

from __future__ import annotations

from collections.abc import Sequence

from babelguard.corpus.checking.report import Place, Report
from babelguard.corpus.header import (
    INDONESIAN,
    METADATA,
    REQUIRED,
    column_language,
    column_of,
    name_fault,
    unknown_column,
)
from babelguard.languages import LANGUAGES, OLD_CODES

# Kind ("meta", "language" or "ignored"), and the field name or language code.
Meaning = tuple[str, str]


class Columns:
    """Interprets column names, and reports each problem once.

    Args:
        report: The report to add problems to.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._known: dict[tuple[str, ...], list[Meaning]] = {}
        self._reported: set[str] = set()

    def interpret(self, place: Place, names: Sequence[str]) -> list[Meaning]:
        """Return the meaning of each column of a row, in the same order."""
        key = tuple(names)
        if key not in self._known:
            found = self._interpret(place, key)
            if len(self._known) > 1000:  # bounds memory if every row has different columns
                return found
            self._known[key] = found
        return self._known[key]

    def _interpret(self, place: Place, names: tuple[str, ...]) -> list[Meaning]:
        taken: set[Meaning] = set()
        found: list[Meaning] = []
        # Exact names take precedence: `he` is Hebrew even if `iw` comes before it.
        plain = {meaning for name in names if (meaning := self._plain(name)) is not None}
        for number, name in enumerate(names, start=1):
            meaning = self._plain(name)
            if fault := name_fault(number, name):
                self._report_once(place, fault)
                meaning = ("ignored", name)
            elif meaning is None:
                meaning = self._guess(place, name)
                if meaning in plain:
                    self._report_once(
                        place, f"the columns '{name}' and '{column_of(meaning[1])}' are the same language"
                    )
                    meaning = ("ignored", name)
            elif meaning in taken:
                hint = f" (the column for Indonesian is '{INDONESIAN}')" if name == "id" else ""
                self._report_once(place, f"the column '{name}' occurs twice; keep one{hint}")
                meaning = ("ignored", name)
            taken.add(meaning)
            found.append(meaning)
        for name in REQUIRED:
            if ("meta", name) not in taken:
                self._report_once(place, f"the column '{name}' is missing; every row needs id and label")
        if all(kind != "language" for kind, _ in found):
            self._report_once(place, "there is no language column; add one named by its code, such as 'en'")
        return found

    @staticmethod
    def _plain(name: str) -> Meaning | None:
        if name in (*REQUIRED, *METADATA):
            return "meta", name
        code = column_language(name)
        return None if code is None else ("language", code)

    def _guess(self, place: Place, name: str) -> Meaning:
        code, why = _language_of(name)
        if code is None:
            self._report_once(place, f"the column '{name}' is neither a known language code nor a field: {why}")
            return "ignored", name
        self._report_once(place, f"the column '{name}' is checked as {LANGUAGES[code].name}: {why}")
        return "language", code

    def _report_once(self, place: Place, what: str) -> None:
        if what not in self._reported:
            self._reported.add(what)
            self._report.add("columns", place, what)


def _language_of(name: str) -> tuple[str | None, str]:
    parts = name.strip().lower().replace("_", "-").split("-")
    head = OLD_CODES.get(parts[0], parts[0])
    if head == "zh" and {"hant", "tw", "hk", "mo"} & set(parts):
        return None, "the language 'zh' of a corpus uses simplified characters; remove columns in traditional ones"
    if head not in LANGUAGES or (head == "id" and len(parts) == 1 and parts[0] == "id"):
        return None, unknown_column(name)
    return head, f"name it '{column_of(head)}'"
