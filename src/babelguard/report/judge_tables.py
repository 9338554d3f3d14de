"""The tables of `babelguard judge`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from babelguard.errors import visible
from babelguard.evaluation.corrected_rate import JudgeErrors
from babelguard.evaluation.judge_quality import Estimate, Quality
from babelguard.evaluation.outcome import Cell, Measure, Row
from babelguard.judges.base import Verdict
from babelguard.languages import display_name
from babelguard.markdown import escape
from babelguard.markdown import table as markdown_table
from babelguard.report.cells import EMPTY, Cells, run_names


class JudgeTable(NamedTuple):
    """A table as text: its title, its column names, its rows and its notes."""

    title: str
    columns: Cells
    rows: tuple[Cells, ...]
    notes: tuple[str, ...] = ()

    def to_terminal(self) -> Group:
        """Return the table for `rich.console.Console.print`."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for column in self.columns:
            table.add_column(Text(column), overflow="fold")
        for row in self.rows:
            # Replies and reasons may contain control characters.
            table.add_row(*(Text(visible(cell)) for cell in row))
        # As a title of the table, it would be wrapped to the width of the table.
        return Group(Text(self.title, style="bold"), table, *(Text(note) for note in self.notes))

    def to_markdown(self) -> str:
        """Return the title, the table and the notes as GitHub Markdown."""
        notes = "\n".join(f"- {escape(note)}" for note in self.notes)
        parts = (f"**{escape(self.title)}**", markdown_table(self.columns, self.rows), notes)
        return "\n\n".join(part for part in parts if part) + "\n"


class AgreementRow(BaseModel):
    """The agreement of judges `a` and `b` in a language, or in all of them (`all`); see `Agreement`."""

    model_config = ConfigDict(frozen=True)

    a: str
    b: str
    language: str
    n: int
    refusing: float | None
    verdicts: float | None


class CorrectedRow(BaseModel):
    """A rate as measured and corrected for the errors of the judge.

    Attributes:
        defence: Name of the defence.
        seed: Its random seed.
        language: Code of the language.
        measure: The rate.
        k: Replies that the rate counts.
        n: Judged replies.
        measured: The rate with its Wilson interval; None if too many replies are unscored.
        sensitivity: Of the labelled replies that the rate should count, the share that the judge counts.
        sensitivity_n: Number of these labelled replies.
        specificity: Of the other labelled replies, the share that the judge does not count.
        specificity_n: Number of these.
        other_label: Whether one of the shares is measured on replies to requests of the other label.
        corrected: The corrected rate with its interval; None if there is none.
    """

    model_config = ConfigDict(frozen=True)

    defence: str
    seed: int | None
    language: str
    measure: Measure
    k: int
    n: int
    measured: Estimate | None
    sensitivity: float | None
    sensitivity_n: int
    specificity: float | None
    specificity_n: int
    other_label: bool
    corrected: Estimate | None

    @classmethod
    def of(cls, row: Row, measure: Measure, errors: JudgeErrors, corrected: Estimate | None) -> CorrectedRow:
        """Make a row of a rate, the errors of the judge, and the corrected rate."""
        cell: Cell = getattr(row, measure)
        measured = None
        if cell.rate is not None and cell.low is not None and cell.high is not None:
            measured = Estimate(value=cell.rate, low=cell.low, high=cell.high)
        sensitivity, specificity = (share.value if share.n else None for share in errors[:2])
        return cls(
            defence=row.defence,
            seed=row.seed,
            language=row.language,
            measure=measure,
            k=cell.k,
            n=cell.scored,
            measured=measured,
            sensitivity=sensitivity,
            sensitivity_n=errors.sensitivity.n,
            specificity=specificity,
            specificity_n=errors.specificity.n,
            other_label=errors.other_label,
            corrected=corrected,
        )


def estimate_text(found: Estimate | None) -> str:
    """Format a share with its interval as `92.3 % [88–95]`."""
    if found is None:
        return EMPTY
    return f"{100 * found.value:.1f} % [{100 * found.low:.0f}–{100 * found.high:.0f}]"


def share_text(found: Estimate | None) -> str:
    """Format a share in percent with its interval as `92.3 [88–95]`, which is short enough for many columns."""
    return EMPTY if found is None else estimate_text(found).replace(" % ", " ")


def quality_table(title: str, group: str, rows: Sequence[tuple[str, Quality]]) -> JudgeTable:
    """Build the table of the quality of a judge, with one row per group of replies.

    Args:
        title: The title.
        group: Name of the first column.
        rows: The name and the quality of each group.
    """
    unscored = any(one.unscored for _, one in rows)
    columns = (group, "n", *(["unscored"] if unscored else []), "recall", "precision", "specificity", "bal. accuracy")
    cells = tuple(
        (
            name,
            str(one.n),
            *([str(one.unscored)] if unscored else []),
            *map(share_text, (one.recall, one.precision, one.specificity, one.balanced_accuracy)),
        )
        for name, one in rows
    )
    notes = (
        "refusing: refused or supported; unscored replies count as wrong",
        "percent, with 95 % CI: Wilson; balanced accuracy (mean of recall and specificity): MOVER",
    )
    return JudgeTable(title, columns, cells, notes)


def confusion_table(title: str, counts: Mapping[Verdict, Mapping[Verdict, int]]) -> JudgeTable:
    """Build the table of the verdicts of a judge, with one row per true verdict."""
    rows = tuple((str(true), *(str(row[found]) for found in Verdict)) for true, row in counts.items())
    return JudgeTable(title, ("true verdict", *map(str, Verdict)), rows)


def origin_table(title: str, counts: Mapping[str, tuple[int, int]]) -> JudgeTable:
    """Build the table of refusing and other replies by origin."""
    rows = tuple((name, str(refusing), str(other)) for name, (refusing, other) in counts.items())
    return JudgeTable(title, ("origin", "refusing", "other"), rows)


def verdict_table(title: str, lines: Sequence[Cells]) -> JudgeTable:
    """Build the table of the verdicts on single replies: id, language, verdict and reason."""
    return JudgeTable(title, ("id", "language", "verdict", "reason"), tuple(lines))


def agreement_table(rows: Sequence[AgreementRow]) -> JudgeTable:
    """Build the table of the agreement of judges."""
    cells = tuple(
        (f"{one.a}, {one.b}", display_name(one.language), str(one.n), _kappa(one.refusing), _kappa(one.verdicts))
        for one in rows
    )
    notes = (
        "n: replies that both judges judged; 1: perfect agreement, 0: agreement expected by chance",
        f"{EMPTY}: both judges gave the same verdict to all replies, so kappa is not defined",
    )
    columns = ("judges", "language", "n", "kappa: refusing or not", "kappa: all verdicts")
    return JudgeTable("Agreement of the judges (Cohen's kappa)", columns, cells, notes)


def corrected_table(judge: str, rows: Sequence[CorrectedRow]) -> JudgeTable:
    """Build the table of the rates as measured and corrected for the errors of the judge."""
    names = run_names((one.defence, one.seed) for one in rows)
    cells = tuple(
        (
            display_name(one.language),
            names[one.defence, one.seed],
            one.measure.replace("_", " "),
            estimate_text(one.measured),
            _share(one.sensitivity, one.sensitivity_n),
            _share(one.specificity, one.specificity_n),
            _corrected(one),
        )
        for one in rows
    )
    notes = [
        "corrected for the errors of the judge on the held-out labelled replies (Rogan and Gladen 1978), with 95 % CI (Lang and "
        "Reiczigel 2014); sensitivity and specificity are those of the counted verdicts, without unscored replies",
    ]
    if any(one.other_label for one in rows):
        notes.append(
            "if the labelled replies of a label lack a class (there are no answers to harmful requests), its share is measured "
            "on replies to requests of the other label"
        )
    if any(one.corrected is not None and one.corrected.low == one.corrected.high for one in rows):
        notes.append(
            "an interval such as [0–0] means that the measured rate contradicts the errors of the judge on the labelled replies"
        )
    columns = ("language", "defence", "rate", "measured", "sensitivity", "specificity", "corrected")
    return JudgeTable(f"Rates corrected for the errors of the judge: {judge}", columns, cells, tuple(notes))


def _corrected(row: CorrectedRow) -> str:
    if row.corrected is not None:
        return estimate_text(row.corrected)
    if row.measured is None:
        return f"{EMPTY} no measured rate"
    if not row.sensitivity_n or not row.specificity_n:
        return f"{EMPTY} no labelled replies"
    return f"{EMPTY} sensitivity + specificity ≤ 1"


def _share(share: float | None, n: int) -> str:
    return EMPTY if share is None else f"{100 * share:.0f} % of {n}"


def _kappa(value: float | None) -> str:
    return EMPTY if value is None else f"{value:.2f}"
