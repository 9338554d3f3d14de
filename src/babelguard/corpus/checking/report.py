"""The report of the checks. All findings are counted, and the first ones of each kind are kept with their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from babelguard.corpus.checking.options import CHECKS
from babelguard.errors import visible
from babelguard.languages import display_name


class Place(NamedTuple):
    """A place in a file.

    Attributes:
        file: The file.
        line: The line, or 0 for the file as a whole.
        id: Id of the row, or ''.
    """

    file: str
    line: int = 0
    id: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where} {self.id}" if self.id else where


@dataclass(frozen=True)
class Finding:
    """One finding: its place and a description."""

    place: Place
    message: str


@dataclass
class Problem:
    """All findings of one check in one language, or with the language '' for a row or file as a whole."""

    check: str
    language: str
    count: int = 0
    examples: list[Finding] = field(default_factory=list)


@dataclass
class LanguageSummary:
    """Results for one language.

    Attributes:
        cells: Number of texts that are not empty.
        identified: Share of them that are identified as this language, or None if this was not checked.
        length: Median ratio of the length in characters to the English cell, or None if there is no English.
        similarity: Median cosine similarity to the English cell, or None if this was not checked.
        failed: Number of findings in this language.
    """

    cells: int = 0
    identified: float | None = None
    length: float | None = None
    similarity: float | None = None
    failed: int = 0


class Report:
    """Collects the findings of all checks.

    Args:
        examples: Number of findings per kind that are kept with their place. All are counted.
        skip: Checks whose findings are ignored.
    """

    def __init__(self, examples: int = 3, skip: frozenset[str] = frozenset()) -> None:
        self.rows = 0
        self.files: list[str] = []
        self.skipped: list[str] = sorted(skip)
        self.notes: list[str] = []
        self.languages: dict[str, LanguageSummary] = {}
        self._problems: dict[tuple[str, str], Problem] = {}
        self._examples = examples
        self._first_faults: dict[str, Finding] = {}

    def add(self, check: str, place: Place, message: str, language: str = "") -> None:
        """Add one finding."""
        if check in ("columns", "rows"):
            self._first_faults.setdefault(place.file, Finding(place, message))
        if check in self.skipped:
            return
        problem = self._problems.setdefault((check, language), Problem(check, language))
        problem.count += 1
        if len(problem.examples) < self._examples:
            problem.examples.append(Finding(place, message))
        if language in self.languages:
            self.languages[language].failed += 1

    def first_fault(self, file: str) -> Finding | None:
        """Return the first problem of the columns or rows of a file, even if the check is skipped."""
        return self._first_faults.get(file)

    @property
    def failed(self) -> bool:
        """Whether there are findings."""
        return bool(self._problems)

    @property
    def problems(self) -> list[Problem]:
        """All problems, in the order of the checks and then of the language codes."""
        order = list(CHECKS)
        return sorted(self._problems.values(), key=lambda one: (order.index(one.check), one.language))

    def count(self, check: str, language: str | None = None) -> int:
        """Return the number of findings of a check, in one language or in all (None)."""
        wanted = (one for one in self._problems.values() if one.check == check)
        return sum(one.count for one in wanted if language is None or one.language == language)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        problems = [
            {
                "check": one.check,
                "language": one.language or None,
                "count": one.count,
                "examples": [{**found.place._asdict(), "message": found.message} for found in one.examples],
            }
            for one in self.problems
        ]
        return {
            "failed": self.failed,
            "files": self.files,
            "rows": self.rows,
            "skipped": self.skipped,
            "problems": problems,
            "languages": {code: asdict(summary) for code, summary in self.languages.items()},
            "notes": self.notes,
        }

    def tables(self) -> Sequence[Table]:
        """Return a table of the problems, if there are any, and a table of the languages."""
        return [*([self._failures()] if self.failed else []), self._summary()]

    def _failures(self) -> Table:
        table = Table(title="Problems", title_justify="left")
        for name in ("check", "language"):
            table.add_column(name, no_wrap=True)
        table.add_column("count", justify="right")
        table.add_column("examples", overflow="fold")
        for one in self.problems:
            lines = "\n".join(f"{found.place}: {found.message}" for found in one.examples)
            table.add_row(one.check, one.language or "-", f"{one.count:,}", Text(visible(lines, keep="\n")))
        return table

    def _summary(self) -> Table:
        table = Table(title="Languages", title_justify="left")
        table.add_column("language")
        for name in ("cells", "identified", "length / English", "similarity", "failed"):
            table.add_column(name, justify="right")
        for code, one in self.languages.items():
            known = (
                "-" if one.identified is None else f"{one.identified:.1%}",
                "-" if one.length is None else f"{one.length:.2f}",
                "-" if one.similarity is None else f"{one.similarity:.3f}",
            )
            table.add_row(display_name(code), f"{one.cells:,}", *known, f"{one.failed:,}")
        return table
