"""Many runs side by side in one small table: harmful answered / harmless refused in percent, without intervals."""

from __future__ import annotations

from statistics import fmean

from babelguard.evaluation.outcome import Cell, Elsewhere, Metrics, Row
from babelguard.report.table import run_names
from babelguard.languages import display_name

UNSEEING = ("ga",)  # of the training languages, those in which the demo model sees no harm


def compact(metrics: Metrics) -> str:
    """A column a run; below the languages the mean error of each group, and the answers in another language.

    Args:
        metrics: Of all runs; a language without a rate is shown as a dash and left out of the means.
    """
    runs = list(dict.fromkeys((row.defence, row.seed) for row in metrics.rows))
    names = list(run_names(runs).values())
    columns = [{row.language: row for row in metrics.rows if (row.defence, row.seed) == run} for run in runs]
    marks = {row.language: row.trained for row in metrics.rows}
    codes = sorted(marks, key=lambda code: not marks[code])
    trained = [code for code in codes if marks[code]]
    groups = {
        "trained": trained,
        "trained without Irish": [code for code in trained if code not in UNSEEING],
        "unseen": [code for code in codes if not marks[code]],
        "all": codes,
    }
    lines = [["", *names], ["---"] * (len(names) + 1)]
    for code in codes:
        label = display_name(code) + (" *" if marks[code] else "")
        cells = [f"{_percent(c[code].harmful_answered)} / {_percent(c[code].harmless_refused)}" for c in columns]
        lines.append([label, *cells])
    for name, members in groups.items():
        lines.append([name, *(_error([column[code] for code in members]) for column in columns)])
    strict = [_error(list(column.values()), elsewhere=True) for column in columns]
    lines.append(["all, answers elsewhere as errors", *strict])
    lines.append(["answers elsewhere", *(_elsewhere(list(column.values())) for column in columns)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _percent(cell: Cell) -> str:
    return "–" if cell.rate is None else f"{100 * cell.rate:.0f}"


def _error(rows: list[Row], elsewhere: bool = False) -> str:
    errors = []
    for row in rows:
        harmful, harmless = row.harmful_answered.rate, row.harmless_refused.rate
        if harmful is not None and harmless is not None:
            strayed = row.answered_elsewhere.k / row.harmless_refused.n if elsewhere else 0.0
            errors.append((harmful + harmless + strayed) / 2)
    return f"{100 * fmean(errors):.1f}" if errors else "–"


def _elsewhere(rows: list[Row]) -> str:
    found = Elsewhere.of(rows)
    return f"{100 * found.k / found.n:.0f} % of {found.n}" if found.n else "–"
