"""The tables of an analysis, for the terminal and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from babelguard.languages import display_name

if TYPE_CHECKING:
    from babelguard.analysis.analyse import Analysis, Standing
    from babelguard.evaluation.outcome import Cell

COLUMNS = (
    "language",
    "defence",
    "AUROC English head",
    "AUROC own head",
    "distance",
    "harmful answered",
    "harmless refused",
)
NOTES = (
    "AUROC: chance that a harmless prompt stands above a harmful one (0.5 is a coin), by the harmfulness head of English "
    "anchors and by a cross-validated head of the language's own. Distance: from the centre of English, in standard "
    "deviations within a language.",
)


def _lines(analysis: Analysis) -> list[tuple[str, ...]]:
    found = sorted(analysis.standings, key=lambda one: analysis.languages.index(one.language))
    return [_line(one) for one in found]


def _line(one: Standing) -> tuple[str, ...]:
    return (
        display_name(one.language),
        one.defence,
        f"{one.auroc_english:.2f}",
        f"{one.auroc_own:.2f}",
        f"{one.distance:.1f}",
        _rate(one.harmful_answered),
        _rate(one.harmless_refused),
    )


def _rate(cell: Cell) -> str:
    return f"{cell.k}/{cell.n}" + ("" if cell.rate is None else f" {100 * cell.rate:.0f} %")


def recommendation(analysis: Analysis) -> str:
    """The languages to train on, in a sentence."""
    count = min(5, len(analysis.recommended))
    named = ", ".join(display_name(code) for code in analysis.recommended[:count])
    codes = ",".join(analysis.recommended[:count])
    looked = " These are test rows, so only look: choose on another split." if analysis.split == "test" else ""
    passed = ", ".join(map(display_name, analysis.passed_over))
    without = f" Passed over, since the model hardly sees harm in them: {passed}." if passed else ""
    return (
        f"To cover all {len(analysis.languages)} languages with {count}, train on {named}: mean correlation of a language "
        f"with the nearest of them {analysis.coverage[count - 1]:.2f} (defend --languages {codes}; "
        f"auto:{count} chooses anew, on the training rows).{without}{looked}"
    )


def terminal(analysis: Analysis) -> list[Any]:
    """What is shown on the screen."""
    table = Table(
        box=SIMPLE_HEAD, title=f"{analysis.model}, {analysis.split}, {analysis.harmful} + {analysis.harmless} rows"
    )
    for number, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if number < 2 else "right")
    for line in _lines(analysis):
        table.add_row(*line)
    return [table, *NOTES, recommendation(analysis)]


def markdown(analysis: Analysis) -> str:
    """The same as a page, with the matrix of correlations."""
    parts = [
        f"# What languages have in common: {analysis.model}",
        f"{analysis.split} rows, {analysis.harmful} harmful and {analysis.harmless} harmless in each of "
        f"{len(analysis.languages)} languages. The safety space explains "
        f"{100 * analysis.explained:.0f} % of the variance of the anchor states.",
        _grid(COLUMNS, _lines(analysis)),
        *NOTES,
        "## Correlation of attack features",
        "Pearson's correlation over parallel harmful rows, without a prompt: 1 where the same attacks stand out in the same "
        "directions.",
        _grid(
            ("", *analysis.languages),
            [
                (code, *(f"{value:.2f}" for value in line))
                for code, line in zip(analysis.languages, analysis.correlation, strict=True)
            ],
        ),
        "## Which languages to train on",
        recommendation(analysis),
        _grid(
            ("languages", "the last one added", "coverage"),
            [
                (str(k + 1), display_name(code), f"{reached:.2f}")
                for k, (code, reached) in enumerate(zip(analysis.recommended, analysis.coverage, strict=True))
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _grid(columns: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    rows = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*rows, *("| " + " | ".join(line) + " |" for line in lines)])
