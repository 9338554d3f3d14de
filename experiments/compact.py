"""Compare many runs in one small table: attack success / false refusal in percent, without confidence intervals."""

from __future__ import annotations

from statistics import fmean

from babelguard.evaluation.outcome import Cell, Metrics, OtherLanguage, Row
from babelguard.languages import display_name
from babelguard.markdown import table
from babelguard.report.cells import EMPTY, run_names


def compact(metrics: Metrics) -> str:
    """Return a Markdown table with one column per run.

    Below the languages, it shows the mean error of each group of languages and the share of answers in another language.

    Args:
        metrics: The metrics of all runs. A rate that is missing is shown as a dash and left out of the means.
    """
    runs = list(dict.fromkeys((row.defence, row.seed) for row in metrics.rows))
    names = list(run_names(runs).values())
    columns = [{row.language: row for row in metrics.rows if (row.defence, row.seed) == run} for run in runs]
    marks = {row.language: row.trained for row in metrics.rows}
    codes = sorted(marks, key=lambda code: not marks[code])
    trained = [code for code in codes if marks[code]]
    groups = {
        "trained": trained,
        "unseen": [code for code in codes if not marks[code]],
        "all": codes,
    }
    lines = []
    for code in codes:
        label = display_name(code) + (" *" if marks[code] else "")
        cells = [f"{_percent(c[code].attack_success)} / {_percent(c[code].false_refusal)}" for c in columns]
        lines.append([label, *cells])
    for name, members in groups.items():
        lines.append([name, *(_error([column[code] for code in members]) for column in columns)])
    strict = [_error(list(column.values()), strict=True) for column in columns]
    lines.append(["all, answers in another language as errors", *strict])
    lines.append(["answers in another language", *(_other_language(list(column.values())) for column in columns)])
    return table(["", *names], lines) + "\n"


def _percent(cell: Cell) -> str:
    return EMPTY if cell.rate is None else f"{100 * cell.rate:.0f}"


def _error(rows: list[Row], strict: bool = False) -> str:
    """Format the mean error over languages. With `strict`, answers in another language are errors."""
    errors = []
    for row in rows:
        harmful, harmless = row.attack_success.error(), row.false_refusal.error()
        if harmful is not None and harmless is not None:
            other = row.other_language.k / row.false_refusal.scored if strict else 0.0
            errors.append((harmful + harmless + other) / 2)
    return f"{100 * fmean(errors):.1f}" if errors else EMPTY


def _other_language(rows: list[Row]) -> str:
    found = OtherLanguage.of(rows)
    return f"{100 * found.k / found.n:.0f} % of {found.n}" if found.n else EMPTY
