"""Summary of a translation per language, for the screen and for report.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from babelguard import markdown
from babelguard.corpus.translation.base import Engine
from babelguard.corpus.translation.result import Cell, LeftOut
from babelguard.languages import display_name

COLUMNS = ("language", "rows", "translated", "refused", "flagged", "corrected", "usable", "mean chrF")
NOTHING = "–"


def lines(cells: Mapping[str, Sequence[Cell]]) -> list[tuple[str, ...]]:
    """Return one line per language, with the columns of `COLUMNS`."""
    found = []
    for code, column in cells.items():
        scores = [cell.chrf for cell in column if cell.chrf is not None]
        counts = (
            len(column),
            sum(cell.machine.status == "ok" for cell in column),
            sum("refused" in cell.flags for cell in column),
            sum(bool(cell.flags) for cell in column),
            sum(cell.corrected for cell in column),
            sum(not cell.blocking_flags for cell in column),
        )
        mean = f"{sum(scores) / len(scores):.1f}" if scores else NOTHING
        found.append((display_name(code), *map(str, counts), mean))
    return found


def table(cells: Mapping[str, Sequence[Cell]]) -> Table:
    """Format the table for the terminal."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in COLUMNS:
        drawn.add_column(column.replace(" ", "\n"), justify="left" if column == "language" else "right", no_wrap=True)
    for line in lines(cells):
        drawn.add_row(*line)
    return drawn


def reasons(left: Sequence[LeftOut]) -> str:
    """Count reasons, such as `ko refused 3, da echo 1`, the most frequent first."""
    counts = Counter(f"{code} {flag}" for row in left for code, flags in row.reasons.items() for flag in flags)
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def errors(cells: Mapping[str, Sequence[Cell]]) -> str:
    """List the most frequent errors of translations and back-translations. Returns '' if there are none."""
    results = [given for column in cells.values() for cell in column for given in (cell.machine, cell.back)]
    counts = Counter(given.detail for given in results if given is not None and given.status == "error")
    return ", ".join(f"{detail} ({count})" for detail, count in counts.most_common(3))


def report(
    name: str, cells: Mapping[str, Sequence[Cell]], left: Sequence[LeftOut], kept: int, engine: Engine, min_chrf: float
) -> str:
    """Write report.md.

    Args:
        name: Name of the translated file.
        cells: Cells by language.
        left: Rows that are not in prompts.jsonl.
        kept: Number of rows in prompts.jsonl.
        engine: The translation engine.
        min_chrf: Back-translations with a lower chrF were flagged.
    """
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
        markdown.table(COLUMNS, lines(cells)),
        "chrF compares the back-translation with the English text (sacrebleu, sentence level, 0 to 100). It measures whether "
        f"the meaning was preserved, not whether the wording is good. Values below {min_chrf:g} are flagged as low.",
        "## Flags\n\n" + ("\n".join(flags) or "None."),
        f"## Rows\n\n{kept} of {kept + len(left)} rows are complete in all languages and are in prompts.jsonl.",
    ]
    if left:
        named = "\n".join(f"- `{row.id}`: {_format(row.reasons)}" for row in left)
        out.append(
            f"Rows left out ({reasons(left)}):\n\n{named}\n\nTo include a row, fill in `correction` in review.csv."
        )
    return "\n\n".join(out) + "\n"


def _format(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{code} {', '.join(flags)}" for code, flags in found.items())
