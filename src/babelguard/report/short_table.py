"""The short table: mean error per defence, differences between defences, and answers in another language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from babelguard.evaluation.outcome import Comparison, Group, Metrics, OtherLanguage, groups_of
from babelguard.report.cells import EMPTY, Cells, Run, other_language_text, percent, points

HEADING = "error ↓"
NOT_SIGNIFICANT = "n.s."


def error_rows(metrics: Metrics, names: Mapping[Run, str], groups: Sequence[Group]) -> tuple[Cells, ...]:
    """Build the short table, with one column per group of languages.

    Args:
        metrics: The metrics.
        names: The name of each defence and seed.
        groups: The groups of languages to show.

    Returns:
        The header, then one row per defence, one row per difference, and one row per defence for the answers in another
        language than the question, if the languages of the answers were checked. Empty if there are no groups.
    """
    if not groups:
        return ()
    errors = {((one.defence, one.seed), one.group): one.error for one in metrics.summary}
    rows = [(HEADING, *(f"{group} languages" for group in groups))]
    rows += [(names[run], *(percent(errors.get((run, group))) for group in groups)) for run in names]
    compared = {(found.a, found.b, found.group): found for found in metrics.differences}
    for a, b in dict.fromkeys((found.a, found.b) for found in metrics.differences):
        rows.append((f"{a} − {b}", *(_difference_cell(compared.get((a, b, group))) for group in groups)))
    for other in metrics.other_judges:
        again = {(found.a, found.b, found.group): found for found in other.differences}
        for a, b in dict.fromkeys((found.a, found.b) for found in other.differences):
            cells = (_difference_cell(again.get((a, b, group))) for group in groups)
            rows.append((f"{a} − {b}\njudge: {other.judge}", *cells))
    for run, name in names.items():
        members = dict(groups_of([row for row in metrics.rows if (row.defence, row.seed) == run]))
        counts = [other_language_text(OtherLanguage.of(members.get(group, ()))) for group in groups]
        if set(counts) != {EMPTY}:
            rows.append((f"{name}: answers\nin another language", *counts))
    return tuple(rows)


def difference_text(found: Comparison) -> str:
    """Describe a difference in one line, such as `mcd − written, trained languages: −12.3 points [−15.0, −9.1]`."""
    only = f", {found.only.replace('_', ' ')} only" if found.only else ""
    without = f", without {', '.join(found.left_out)}" if found.left_out else ""
    significance = "" if found.significant else ", not statistically significant: the 95 % CI contains 0"
    return (
        f"{found.a} − {found.b}, {found.group} languages{only}{without}: "
        f"{points(found.mean)} points [{points(found.low)}, {points(found.high)}]{significance}"
    )


def _difference_cell(found: Comparison | None) -> str:
    """Format a difference and its confidence interval. A difference that is not significant is shown as `n.s.`."""
    if found is None:
        return EMPTY
    parts = [points(found.mean) if found.significant else NOT_SIGNIFICANT]
    parts.append(f"[{points(found.low)}, {points(found.high)}]")
    if found.only:
        parts.append(f"{found.only.replace('_', ' ')} only")
    if found.left_out:
        parts.append(f"without {', '.join(found.left_out)}")
    return "\n".join(parts)
