"""What came out of a translation, per language: for the screen and for report.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from babelguard.languages import display_name
from babelguard.translation.engine import Engine
from babelguard.translation.result import Cell, LeftOut

COLUMNS = ("language", "rows", "translated", "refused", "flagged", "corrected", "usable", "mean chrF")
NOTHING = "–"


def lines(cells: Mapping[str, Sequence[Cell]]) -> list[tuple[str, ...]]:
    """One line a language, as text, in the order of `COLUMNS`."""
    found = []
    for code, column in cells.items():
        scores = [cell.chrf for cell in column if cell.chrf is not None]
        counts = (
            len(column),
            sum(cell.machine.status == "ok" for cell in column),
            sum("refused" in cell.flags for cell in column),
            sum(bool(cell.flags) for cell in column),
            sum(cell.corrected for cell in column),
            sum(not cell.hindrances for cell in column),
        )
        mean = f"{sum(scores) / len(scores):.1f}" if scores else NOTHING
        found.append((display_name(code), *map(str, counts), mean))
    return found


def table(cells: Mapping[str, Sequence[Cell]]) -> Table:
    """The table for the terminal."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        drawn.add_column(column.replace(" ", "\n"), justify="left" if column == "language" else "right", no_wrap=True)
    for line in lines(cells):
        drawn.add_row(*line)
    return drawn


def reasons(left: Sequence[LeftOut]) -> str:
    """`ko refused 3, da echo 1`, the most frequent first."""
    counts = Counter(f"{code} {flag}" for row in left for code, flags in row.reasons.items() for flag in flags)
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def errors(cells: Mapping[str, Sequence[Cell]]) -> str:
    """Why nothing usable came, there or back, the most frequent reason first; empty where there are no errors."""
    made = [given for column in cells.values() for cell in column for given in (cell.machine, cell.back)]
    counts = Counter(given.detail for given in made if given is not None and given.status == "error")
    return ", ".join(f"{detail} ({count})" for detail, count in counts.most_common(3))


def report(
    name: str, cells: Mapping[str, Sequence[Cell]], left: Sequence[LeftOut], kept: int, engine: Engine, min_chrf: float
) -> str:
    """The Markdown of report.md.

    Args:
        name: Of the file that was translated.
        cells: By language.
        left: Rows that are not in prompts.jsonl.
        kept: Rows that are.
        engine: Who translated.
        min_chrf: Below it a row was flagged.
    """
    body = [COLUMNS, (":--", *("--:",) * (len(COLUMNS) - 1)), *lines(cells)]
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in body)
    counts = {code: Counter(flag for cell in column for flag in cell.flags) for code, column in cells.items()}
    flags = [
        f"- {display_name(code)}: {', '.join(f'{flag} {count}' for flag, count in found.most_common())}"
        for code, found in counts.items()
        if found
    ]
    out = [
        f"# {name} in {len(cells)} {'language' if len(cells) == 1 else 'languages'}",
        f"Translated by {engine.model} (engine {engine.name}); licence of the translations: {engine.licence}.",
        *engine.notices,
        drawn,
        "chrF compares the back-translation with the English text (sacrebleu, one sentence each, 0 to 100); it says whether "
        f"the meaning can be found again, not whether the wording is good. Flagged as low: below {min_chrf:g}.",
        "## Flags\n\n" + ("\n".join(flags) or "None."),
        f"## Rows\n\n{kept} of {kept + len(left)} rows have every language and stand in prompts.jsonl.",
    ]
    if left:
        named = "\n".join(f"- `{row.id}`: {_spelled(row.reasons)}" for row in left)
        out.append(f"Left out ({reasons(left)}):\n\n{named}\n\nA `correction` in review.csv brings a row back.")
    return "\n\n".join(out) + "\n"


def _spelled(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{code} {', '.join(flags)}" for code, flags in found.items())
