"""What the checks found: every finding counted, the first ones of a kind kept with their places."""

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
    """Where something stands: a file, its line (0: the file as a whole) and the row's id (empty: none)."""

    file: str
    line: int = 0
    id: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where} {self.id}" if self.id else where


@dataclass(frozen=True)
class Finding:
    """One thing that failed: its place and what is wrong."""

    place: Place
    message: str


@dataclass
class Problem:
    """All findings of one check in one language (empty: of the row or the file as a whole)."""

    check: str
    language: str
    count: int = 0
    examples: list[Finding] = field(default_factory=list)


@dataclass
class LanguageSummary:
    """One language of what was checked.

    Attributes:
        cells: Texts that are not empty.
        identified: Share of them that the identifier takes for this language, None: not asked.
        length: Median of characters by characters of the English cell, None: no English.
        similarity: Median cosine with the English cell, None: not asked.
        failed: Findings in this language.
    """

    cells: int = 0
    identified: float | None = None
    length: float | None = None
    similarity: float | None = None
    failed: int = 0


class Report:
    """What was checked and what failed.

    Args:
        examples: Findings that are kept of each kind; the others are counted.
        skip: Checks of which nothing is noted.
    """

    def __init__(self, examples: int = 3, skip: frozenset[str] = frozenset()) -> None:
        self.rows = 0
        self.files: list[str] = []
        self.skipped: list[str] = sorted(skip)
        self.notes: list[str] = []
        self.languages: dict[str, LanguageSummary] = {}
        self._problems: dict[tuple[str, str], Problem] = {}
        self._examples = examples
        self._unread: dict[str, Finding] = {}

    def add(self, check: str, place: Place, message: str, language: str = "") -> None:
        """Note one finding."""
        if check in ("columns", "rows"):
            self._unread.setdefault(place.file, Finding(place, message))
        if check in self.skipped:
            return
        problem = self._problems.setdefault((check, language), Problem(check, language))
        problem.count += 1
        if len(problem.examples) < self._examples:
            problem.examples.append(Finding(place, message))
        if language in self.languages:
            self.languages[language].failed += 1

    def first_fault(self, file: str) -> Finding | None:
        """The first thing in the columns and rows of a file that failed, noted or skipped: why it may not be readable."""
        return self._unread.get(file)

    @property
    def failed(self) -> bool:
        """Whether anything did."""
        return bool(self._problems)

    @property
    def problems(self) -> list[Problem]:
        """In the order of the checks, then of the languages' codes."""
        order = list(CHECKS)
        return sorted(self._problems.values(), key=lambda one: (order.index(one.check), one.language))

    def count(self, check: str, language: str | None = None) -> int:
        """How often a check failed, in one language or (None) in all."""
        wanted = (one for one in self._problems.values() if one.check == check)
        return sum(one.count for one in wanted if language is None or one.language == language)

    def as_json(self) -> dict[str, Any]:
        """The whole of it as plain values."""
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
        """What failed (if anything did), and the languages one by one."""
        return [*([self._failures()] if self.failed else []), self._summary()]

    def _failures(self) -> Table:
        table = Table(title="What failed", title_justify="left")
        for name in ("check", "language"):
            table.add_column(name, no_wrap=True)
        table.add_column("count", justify="right")
        table.add_column("first ones", overflow="fold")
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
