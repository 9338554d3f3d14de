"""Write the results of an analysis as tables, for the terminal and as Markdown."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from babelguard.analysis.result import Analysis, LanguageResult
from babelguard.evaluation.outcome import Cell
from babelguard.languages import display_name
from babelguard.markdown import table as markdown_table

COLUMNS = (
    "language",
    "defence",
    "AUROC English head",
    "AUROC own head",
    "distance",
    "attack success",
    "false refusal",
)
NOTES = (
    "AUROC: probability that a harmless prompt scores higher than a harmful prompt (chance: 0.5). English head: harmfulness "
    "head fitted on English anchors. Own head: cross-validated head fitted on the same language. Distance: between the centre "
    "of the language and the centre of English, in standard deviations within a language.",
)


def to_terminal(analysis: Analysis) -> list[Table | str]:
    """Return the table, the notes and the recommendation for the terminal."""
    table = Table(
        box=SIMPLE_HEAD, title=f"{analysis.model}, {analysis.split}, {analysis.harmful} + {analysis.harmless} rows"
    )
    for number, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if number < 2 else "right")
    for row in _rows(analysis):
        table.add_row(*row)
    return [table, *NOTES, recommendation(analysis)]


def to_markdown(analysis: Analysis) -> str:
    """Return a Markdown page with the table, the correlation matrix and the recommendation."""
    parts = [
        f"# Language analysis: {analysis.model}",
        f"{analysis.split} rows, {analysis.harmful} harmful and {analysis.harmless} harmless in each of "
        f"{len(analysis.languages)} languages. The safety space explains "
        f"{100 * analysis.explained:.0f} % of the variance of the anchor states.",
        markdown_table(COLUMNS, _rows(analysis)),
        *NOTES,
        "## Correlation of attack features",
        "Pearson correlation over parallel harmful rows, without a safety prompt. It is 1 if the attack features of both "
        "languages agree.",
        markdown_table(
            ("", *analysis.languages),
            [
                (code, *(f"{value:.2f}" for value in line))
                for code, line in zip(analysis.languages, analysis.correlation, strict=True)
            ],
        ),
        "## Recommended training languages",
        recommendation(analysis),
        markdown_table(
            ("number of languages", "language added", "coverage"),
            [
                (str(k + 1), display_name(code), f"{reached:.2f}")
                for k, (code, reached) in enumerate(zip(analysis.recommended, analysis.coverage, strict=True))
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def recommendation(analysis: Analysis) -> str:
    """Name the recommended training languages, and the setting that uses them."""
    count = min(5, len(analysis.recommended))
    chosen = analysis.recommended[:count]
    text = (
        f"Recommended training languages ({count} of {len(analysis.languages)}): {', '.join(map(display_name, chosen))}. "
        f"The mean correlation of a language with the most similar of them is {analysis.coverage[count - 1]:.2f}. "
        f"To train on them, set `languages` to {','.join(chosen)}. With auto:{count}, the languages are chosen again "
        "from the training rows."
    )
    if analysis.not_separable:
        skipped = ", ".join(map(display_name, analysis.not_separable))
        text += f" Not recommended, because the model hardly separates harmful from harmless prompts: {skipped}."
    if analysis.split == "test":
        text += " This analysis uses test rows; choose training languages on another split."
    return text


def _rows(analysis: Analysis) -> list[tuple[str, ...]]:
    """Return the rows of the table, grouped by language."""
    ordered = sorted(analysis.results, key=lambda result: analysis.languages.index(result.language))
    return [_row(result) for result in ordered]


def _row(result: LanguageResult) -> tuple[str, ...]:
    return (
        display_name(result.language),
        result.defence,
        f"{result.auroc_english:.2f}",
        f"{result.auroc_own:.2f}",
        f"{result.distance:.1f}",
        _rate(result.attack_success),
        _rate(result.false_refusal),
    )


def _rate(cell: Cell) -> str:
    return f"{cell.k}/{cell.n}" + ("" if cell.rate is None else f" {100 * cell.rate:.0f} %")
