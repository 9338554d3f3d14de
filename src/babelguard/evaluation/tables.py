"""The table of outcomes for the terminal and as GitHub Markdown: two forms of one sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from babelguard.evaluation.errors_table import NOTHING, Line, Run, error_lines
from babelguard.evaluation.outcome import (
    Cell,
    Group,
    Measure,
    Metrics,
    Row,
    Spread,
    Summary,
)
from babelguard.languages import display_name

Layout = Literal["wide", "long"]

HEADINGS: dict[Measure, str] = {
    "harmful_answered": "harmful answered ↓",
    "harmless_refused": "harmless refused ↓",
}
COMMA = ", "
PADDING = 2


@dataclass(frozen=True)
class Sheet:
    """Finished cells. A newline in a column's name parts the defence from the measure.

    Attributes:
        title: What was measured.
        columns: Names.
        sections: Lines that belong together; each line is as long as `columns`.
        errors: The short table: its heading, then lines of its own; see `error_lines`.
        notes: Legend, and what was left out.
        stacked: Whether the terminal breaks cells at their commas, because the sheet is too wide otherwise.
    """

    title: str
    columns: tuple[str, ...]
    sections: tuple[tuple[Line, ...], ...]
    errors: tuple[Line, ...]
    notes: tuple[str, ...]
    stacked: bool = False

    @property
    def lines(self) -> list[Line]:
        """The lines of all sections."""
        return [line for section in self.sections for line in section]


def sheet(metrics: Metrics, layout: Layout | None = None, width: int = 120) -> Sheet:
    """Lay out the metrics.

    Args:
        metrics: What was measured; a single benchmark, split and attack.
        layout: `wide` has two columns per defence. `long` has one line per language and defence, the summary
            first. None takes `wide` if it fits into `width`.
        width: Characters that a line may take.
    """
    runs = list(dict.fromkeys((row.defence, row.seed) for row in metrics.rows))
    laid = _long(metrics, runs) if layout == "long" else _wide(metrics, runs)
    if layout is None and _width(laid, stacked=True) > width:
        laid = _long(metrics, runs)
    return replace(laid, stacked=_width(laid, stacked=False) > width)


def terminal(laid: Sheet) -> Stack:
    """The sheet for `rich.console.Console.print`: the table, the notes, and last the short table, which stays in sight."""
    table = _rich(laid.title, laid.columns)
    for section in laid.sections:
        for index, line in enumerate(section):
            cells = [Text(cell.replace(COMMA, "\n") if laid.stacked else cell) for cell in line]
            table.add_row(*cells, end_section=index == len(section) - 1)
    shown: list[Table | Text] = [table, *(Text(note) for note in laid.notes)]
    if laid.errors:
        heading, *lines = laid.errors
        short = _rich("", heading)
        for line in lines:
            short.add_row(*map(Text, line))
        shown.append(short)
    return Stack(*shown)


def _rich(title: str, columns: Line) -> Table:
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
    )
    for column in columns:
        # Text, because a defence's name or a cell like [6–22] must not be read as rich markup.
        table.add_column(Text(column), overflow="fold")
    return table


def markdown(laid: Sheet) -> str:
    """The sheet as two GitHub Markdown tables, the short one first, with the notes as a list below them."""
    short = _markdown([tuple(cell.replace("\n", " ") for cell in line) for line in laid.errors])
    table = _markdown([tuple(column.replace("\n", ": ") for column in laid.columns), *laid.lines])
    notes = "\n".join(f"- {_escape(note)}" for note in laid.notes)
    return "\n\n".join(part for part in (f"**{_escape(laid.title)}**", short, table, notes) if part) + "\n"


def _markdown(lines: Sequence[Line]) -> str:
    if not lines:
        return ""
    heads, *body = [[_escape(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, [":--"] * len(heads), *body))


def cell_text(cell: Cell) -> str:
    """`12/100  12 % [7–20]`, with broken and unscored rows beside it where there are any."""
    if cell.n == 0:
        return NOTHING
    count = f"{cell.k}/{cell.n}"
    broken = [f"{cell.broken} broken"] if cell.broken else []
    unscored = [f"{cell.unscored} unscored"] if cell.unscored else []
    if cell.rate is None or cell.low is None or cell.high is None:
        return COMMA.join([f"{count}  no rate: {unscored[0]}", *broken])
    rate = f"{count}  {100 * cell.rate:.0f} % [{100 * cell.low:.0f}–{100 * cell.high:.0f}]"
    return COMMA.join([rate, *broken, *unscored])


def run_names(runs: Iterable[Run]) -> dict[Run, str]:
    """What to call each defence and seed: the seed is named only where a defence has several."""
    known = list(dict.fromkeys(runs))
    times = Counter(defence for defence, _ in known)
    return {(name, seed): name if times[name] == 1 else f"{name} (seed {seed})" for name, seed in known}


def _wide(metrics: Metrics, runs: Sequence[Run]) -> Sheet:
    names = run_names(runs)
    cells = {(row.language, row.defence, row.seed): row for row in metrics.rows}
    columns = [f"{names[run]}\n{heading}" for run in runs for heading in HEADINGS.values()]
    body = [
        (label, *(text for run in runs for text in _row_texts(cells.get((language, *run)))))
        for language, label in _languages(metrics).items()
    ]
    foot = [
        tuple(
            (
                f"{group}: {name}",
                *(text for run in runs for text in _summary_texts(metrics, run, group, show)),
            )
            for name, show in STATISTICS.items()
        )
        for group in _groups(metrics)
    ]
    return Sheet(
        _title(metrics),
        ("language", *columns),
        (tuple(body), *foot),
        error_lines(metrics, names, _groups(metrics)),
        _notes(metrics, runs),
    )


def _long(metrics: Metrics, runs: Sequence[Run]) -> Sheet:
    names = run_names(runs)
    cells = {(row.language, row.defence, row.seed): row for row in metrics.rows}
    summaries = [
        tuple((f"{group} languages", names[run], *_summary_texts(metrics, run, group, _whole)) for run in runs)
        for group in _groups(metrics)
    ]
    languages = [
        tuple((label, names[run], *_row_texts(cells.get((code, *run)))) for run in runs)
        for code, label in _languages(metrics).items()
    ]
    return Sheet(
        _title(metrics),
        ("language", "defence", *HEADINGS.values()),
        (*summaries, *languages),
        error_lines(metrics, names, _groups(metrics)),
        _notes(metrics, runs),
    )


def _mean(spread: Spread) -> str:
    return NOTHING if spread.mean is None else f"{100 * spread.mean:.1f} %"


def _worst(spread: Spread) -> str:
    return NOTHING if spread.worst is None else f"{100 * spread.worst:.1f} % ({spread.worst_language})"


def _variance(spread: Spread) -> str:
    return NOTHING if spread.variance is None else f"{spread.variance:.1f}"


STATISTICS: dict[str, Callable[[Spread], str]] = {"mean": _mean, "worst": _worst, "variance": _variance}


def _whole(spread: Spread) -> str:
    """All three in one cell."""
    if spread.mean is None:
        return NOTHING
    return COMMA.join(f"{name} {show(spread)}" for name, show in STATISTICS.items())


def _summary_texts(metrics: Metrics, run: Run, group: Group, show: Callable[[Spread], str]) -> tuple[str, str]:
    found = _find(metrics, run, group)
    return (show(found.harmful_answered), show(found.harmless_refused)) if found else (NOTHING, NOTHING)


def _row_texts(row: Row | None) -> tuple[str, str]:
    # A defence that was not run in a language has no cells there, which is not the same as no errors.
    if row is None:
        return NOTHING, NOTHING
    elsewhere = [f"{row.answered_elsewhere.k} elsewhere"] if row.answered_elsewhere.k else []
    return cell_text(row.harmful_answered), COMMA.join([cell_text(row.harmless_refused), *elsewhere])


def _find(metrics: Metrics, run: Run, group: Group) -> Summary | None:
    return next((one for one in metrics.summary if (one.defence, one.seed) == run and one.group == group), None)


def _groups(metrics: Metrics) -> list[Group]:
    """Trained, unseen and all; just all where the other two would say the same."""
    marks = {row.trained for row in metrics.rows}
    return ["trained", "unseen", "all"] if len(marks) == 2 else ["all"] if marks else []


def _languages(metrics: Metrics) -> dict[str, str]:
    """Code -> label, the trained languages first, because they are what the reader compares."""
    ordered = sorted(metrics.rows, key=lambda row: not row.trained)
    return {row.language: display_name(row.language) + (" *" if row.trained else "") for row in ordered}


def _title(metrics: Metrics) -> str:
    if not metrics.rows:
        return "nothing was measured"
    row = metrics.rows[0]
    attack = "" if row.attack == "none" else f" · attack: {row.attack}"
    return f"{row.model} · {row.benchmark} ({row.split}){attack} · judge: {row.judge}"


def _notes(metrics: Metrics, runs: Sequence[Run]) -> tuple[str, ...]:
    legend = ["* trained language"] if any(row.trained for row in metrics.rows) else []
    legend.append("↓ lower is better; k/n, rate and 95 % Wilson interval; variance over languages in points squared")
    if metrics.differences:
        legend.append(
            "a − b: points of error, paired over rows, with 95 % interval; not resolved: the interval contains 0"
        )
    if any(row.harmless_refused.broken for row in metrics.rows):
        legend.append("broken harmless replies are counted in k, broken harmful replies are not")
    names = run_names(runs)
    if any(row.answered_elsewhere.k for row in metrics.rows):
        legend.append("elsewhere: harmless requests answered in another language than theirs, not counted in k")
    without = [
        f"{names[run]}: {', '.join(found.left_out)} left out of the summary, more than 2 % unscored"
        for run in runs
        if (found := _find(metrics, run, "all")) and found.left_out
    ]
    return (*legend, *without)


def _width(laid: Sheet, stacked: bool) -> int:
    """Characters that the terminal table takes without wrapping."""
    lines = [[cell.replace(COMMA, "\n") if stacked else cell for cell in line] for line in laid.lines]
    columns = zip(laid.columns, *lines, strict=True)
    return sum(max(len(part) for cell in column for part in cell.split("\n")) + PADDING for column in columns)


def _escape(text: str) -> str:
    """Keep Markdown from reading a defence's or a model's name as markup."""
    for mark in ("\\", "|", "*", "_", "<"):
        text = text.replace(mark, f"\\{mark}")
    return text
