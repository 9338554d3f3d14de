"""What the columns of a file mean, those included whose names mean two things."""

from __future__ import annotations

from collections.abc import Sequence

from babelguard.corpus.checking.report import Place, Report
from babelguard.corpus.schema import (
    INDONESIAN,
    METADATA,
    REQUIRED,
    column_language,
    column_of,
    name_fault,
    unknown_column,
)
from babelguard.languages import LANGUAGES, OLD_CODES

# "meta", "language" or "ignored", and the field or the language code.
Meaning = tuple[str, str]


class Columns:
    """Finds out what column names mean and notes each doubtful set of them once.

    Args:
        report: Where that is noted.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._known: dict[tuple[str, ...], list[Meaning]] = {}
        self._told: set[str] = set()

    def meaning(self, place: Place, names: Sequence[str]) -> list[Meaning]:
        """What each of a row's columns means, in their order."""
        key = tuple(names)
        if key not in self._known:
            found = self._work_out(place, key)
            if len(self._known) > 1000:  # a file whose every row has columns of its own
                return found
            self._known[key] = found
        return self._known[key]

    def _work_out(self, place: Place, names: tuple[str, ...]) -> list[Meaning]:
        taken: set[Meaning] = set()
        found: list[Meaning] = []
        # Names that mean one thing come first: `he` is Hebrew even where `iw` stands before it.
        plain = {meaning for name in names if (meaning := self._plain(name)) is not None}
        for number, name in enumerate(names, start=1):
            meaning = self._plain(name)
            if fault := name_fault(number, name):
                self._tell(place, fault)
                meaning = ("ignored", name)
            elif meaning is None:
                meaning = self._doubtful(place, name)
                if meaning in plain:
                    self._tell(place, f"the columns '{name}' and '{column_of(meaning[1])}' are the same language")
                    meaning = ("ignored", name)
            elif meaning in taken:
                hint = f" (the column of Indonesian is '{INDONESIAN}')" if name == "id" else ""
                self._tell(place, f"the column '{name}' occurs twice; keep one{hint}")
                meaning = ("ignored", name)
            taken.add(meaning)
            found.append(meaning)
        for name in REQUIRED:
            if ("meta", name) not in taken:
                self._tell(place, f"the column '{name}' is missing; every row needs id and label")
        if all(kind != "language" for kind, _ in found):
            self._tell(place, "there is no language column; name one by its code, such as 'en'")
        return found

    @staticmethod
    def _plain(name: str) -> Meaning | None:
        if name in (*REQUIRED, *METADATA):
            return "meta", name
        code = column_language(name)
        return None if code is None else ("language", code)

    def _doubtful(self, place: Place, name: str) -> Meaning:
        code, why = _second_reading(name)
        if code is None:
            self._tell(place, f"the column '{name}' is neither a known language code nor a field: {why}")
            return "ignored", name
        self._tell(place, f"the column '{name}' is checked as {LANGUAGES[code].name}: {why}")
        return "language", code

    def _tell(self, place: Place, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._report.add("columns", place, what)


def _second_reading(name: str) -> tuple[str | None, str]:
    parts = name.strip().lower().replace("_", "-").split("-")
    head = OLD_CODES.get(parts[0], parts[0])
    if head == "zh" and {"hant", "tw", "hk", "mo"} & set(parts):
        return None, "the language 'zh' of a corpus is in simplified characters; leave traditional ones out"
    if head not in LANGUAGES or (head == "id" and len(parts) == 1 and parts[0] == "id"):
        return None, unknown_column(name)
    return head, f"name it '{column_of(head)}'"
