"""The table of outcomes as data. `terminal` and `markdown` write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from babelguard.evaluation.outcome import Group, Metrics, Spread, Summary
from babelguard.languages import display_name
from babelguard.report.cells import EMPTY, SEPARATOR, STATISTICS, Cells, Run, all_statistics, row_texts, run_names
from babelguard.report.short_table import NOT_SIGNIFICANT, error_rows

Layout = Literal["wide", "long"]

HEADINGS = ("attack success ↓", "false refusal ↓", "hard: false refusal ↓")
PADDING = 2


@dataclass(frozen=True)
class OutcomeTable:
    """The table of outcomes, with all cells formatted as text.

    A newline in a column name separates the defence from the measure. A newline in a cell of the short table marks a
    place for a line break. Formats without line breaks replace it.

    Attributes:
        title: Model, benchmark, split, attack and judge.
        columns: Column names.
        sections: Groups of rows; each row has as many cells as there are columns.
        errors: The short table: its header, then its rows. See `error_rows`.
        notes: The legend, and the languages left out of the summary.
        stacked: Whether the terminal must break cells at their separators to fit the table into the width.
    """

    title: str
    columns: Cells
    sections: tuple[tuple[Cells, ...], ...]
    errors: tuple[Cells, ...]
    notes: tuple[str, ...]
    stacked: bool = False

    @property
    def rows(self) -> list[Cells]:
        """The rows of all sections."""
        return [row for section in self.sections for row in section]


def outcome_table(metrics: Metrics, layout: Layout | None = None, width: int = 120) -> OutcomeTable:
    """Build the table of outcomes.

    Args:
        metrics: Metrics of one benchmark, split and attack.
        layout: `wide` has two columns per defence. `long` has one row per language and defence, and starts with the
            summary. None chooses `wide` if it fits into `width`.
        width: Maximum length of a line in characters.
    """
    runs = list(dict.fromkeys((row.defence, row.seed) for row in metrics.rows))
    table = _long(metrics, runs) if layout == "long" else _wide(metrics, runs)
    if layout is None and _width(table, stacked=True) > width:
        table = _long(metrics, runs)
    return replace(table, stacked=_width(table, stacked=False) > width)


def _wide(metrics: Metrics, runs: Sequence[Run]) -> OutcomeTable:
    names = run_names(runs)
    found = {(row.language, row.defence, row.seed): row for row in metrics.rows}
    count = _measures(metrics)
    columns = [f"{names[run]}\n{heading}" for run in runs for heading in HEADINGS[:count]]
    languages = [
        (label, *(text for run in runs for text in row_texts(found.get((code, *run)))[:count]))
        for code, label in _languages(metrics).items()
    ]
    summaries = [
        tuple(
            (f"{group}: {name}", *(text for run in runs for text in _summary_texts(metrics, run, group, show)[:count]))
            for name, show in STATISTICS.items()
        )
        for group in _groups(metrics)
    ]
    return _table(metrics, runs, ("language", *columns), (tuple(languages), *summaries))


def _long(metrics: Metrics, runs: Sequence[Run]) -> OutcomeTable:
    names, count = run_names(runs), _measures(metrics)
    found = {(row.language, row.defence, row.seed): row for row in metrics.rows}
    summaries = [
        tuple(
            (f"{group} languages", names[run], *_summary_texts(metrics, run, group, all_statistics)[:count])
            for run in runs
        )
        for group in _groups(metrics)
    ]
    languages = [
        tuple((label, names[run], *row_texts(found.get((code, *run)))[:count]) for run in runs)
        for code, label in _languages(metrics).items()
    ]
    return _table(metrics, runs, ("language", "defence", *HEADINGS[:count]), (*summaries, *languages))


def _table(
    metrics: Metrics, runs: Sequence[Run], columns: Cells, sections: tuple[tuple[Cells, ...], ...]
) -> OutcomeTable:
    errors = error_rows(metrics, run_names(runs), _groups(metrics))
    return OutcomeTable(_title(metrics), columns, sections, errors, _notes(metrics, runs))


def _summary_texts(metrics: Metrics, run: Run, group: Group, show: Callable[[Spread], str]) -> Cells:
    found = _summary(metrics, run, group)
    if found is None:
        return EMPTY, EMPTY, EMPTY
    hard = EMPTY if found.hard_refusal is None else show(found.hard_refusal)
    return show(found.attack_success), show(found.false_refusal), hard


def _measures(metrics: Metrics) -> int:
    """Return how many of the headings are shown: the one for hard rows only if there were any."""
    return len(HEADINGS) if any(row.hard_refusal is not None for row in metrics.rows) else len(HEADINGS) - 1


def _summary(metrics: Metrics, run: Run, group: Group) -> Summary | None:
    return next((one for one in metrics.summary if (one.defence, one.seed) == run and one.group == group), None)


def _groups(metrics: Metrics) -> list[Group]:
    """Return the groups to show: only `all` if all languages are trained or all are unseen."""
    marks = {row.trained for row in metrics.rows}
    return ["trained", "unseen", "all"] if len(marks) == 2 else ["all"] if marks else []


def _languages(metrics: Metrics) -> dict[str, str]:
    """Map each language code to its label, trained languages first."""
    ordered = sorted(metrics.rows, key=lambda row: not row.trained)
    return {row.language: display_name(row.language) + (" *" if row.trained else "") for row in ordered}


def _title(metrics: Metrics) -> str:
    if not metrics.rows:
        return "no results"
    row = metrics.rows[0]
    attack = "" if row.attack == "none" else f" · attack: {row.attack}"
    return f"{row.model} · {row.benchmark} ({row.split}){attack} · judge: {row.judge}"


def _notes(metrics: Metrics, runs: Sequence[Run]) -> tuple[str, ...]:
    notes = ["* trained language"] if any(row.trained for row in metrics.rows) else []
    notes.append("↓ lower is better")
    notes.append("k/n, rate and 95 % CI (Wilson); variance: over languages, in squared percentage points")
    notes.append("attack success: harmful requests answered, also in part; false refusal: harmless requests refused")
    if _measures(metrics) == len(HEADINGS):
        notes.append("hard: harmless requests that look harmful; not part of the error")
    if metrics.differences:
        notes.append("a − b: difference in error in percentage points, with 95 % CI (paired bootstrap over prompts)")
    if not all(found.significant for found in metrics.differences):
        notes.append(f"{NOT_SIGNIFICANT}: not statistically significant, the 95 % CI contains 0")
    if any(row.false_refusal.broken + row.false_refusal.unhelpful for row in metrics.rows):
        notes.append("unhelpful and broken replies to harmless requests are not in k, but they are in the error")
    if any(row.support.refused for row in metrics.rows):
        notes.append("without support: bare refusals of requests about self-harm; safe, but support would be better")
    if any(row.other_language.k for row in metrics.rows):
        notes.append(
            "in another language: replies to harmless requests in another language than the request; not counted in k"
        )
    names = run_names(runs)
    for run in runs:
        if (found := _summary(metrics, run, "all")) and found.left_out:
            left_out = ", ".join(found.left_out)
            notes.append(f"{names[run]}: {left_out} left out of the summary, more than 2 % of replies unscored")
    return tuple(notes)


def _width(table: OutcomeTable, stacked: bool) -> int:
    """Return the number of characters per line that the terminal needs to show the table without wrapping."""
    rows = [[cell.replace(SEPARATOR, "\n") if stacked else cell for cell in row] for row in table.rows]
    columns = zip(table.columns, *rows, strict=True)
    return sum(max(len(part) for cell in column for part in cell.split("\n")) + PADDING for column in columns)
