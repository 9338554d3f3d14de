"""The short table under the long one: each defence's error, what the differences are worth, and answers that strayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from babelguard.evaluation.outcome import Compared, Elsewhere, Group, Metrics, groups_of

Line = tuple[str, ...]
Run = tuple[str, int | None]
NOTHING = "–"
HEADING = "error: mean of\nboth rates ↓"


def error_lines(metrics: Metrics, names: Mapping[Run, str], groups: Sequence[Group]) -> tuple[Line, ...]:
    """A column for each group of languages. A newline in a cell is a break that the terminal makes and Markdown does not.

    Args:
        metrics: What was measured.
        names: What each defence and seed is called.
        groups: Trained, unseen, all; or just all.

    Returns:
        The heading, then a line a defence, a line a difference, a line for each defence's answers in another language than
        the question, where somebody looked. Nothing where nothing was measured.
    """
    if not groups:
        return ()
    errors = {((one.defence, one.seed), one.group): one.error for one in metrics.summary}
    lines = [(HEADING, *(f"{group} languages" for group in groups))]
    lines += [(names[run], *(_percent(errors.get((run, group))) for group in groups)) for run in names]
    compared = {(found.a, found.b, found.group): found for found in metrics.differences}
    for a, b in dict.fromkeys((found.a, found.b) for found in metrics.differences):
        lines.append((f"{a} − {b}", *(_compared(compared.get((a, b, group))) for group in groups)))
    for run, name in names.items():
        members = dict(groups_of([row for row in metrics.rows if (row.defence, row.seed) == run]))
        strayed = [_elsewhere(Elsewhere.of(members.get(group, ()))) for group in groups]
        if set(strayed) != {NOTHING}:
            lines.append((f"{name}: answers\nin another language", *strayed))
    return tuple(lines)


def difference_text(found: Compared) -> str:
    """`mcd − written, trained languages: −12.3 points [−15.0, −9.1]`, and whether 0 is in the interval."""
    only = f", {found.only.replace('_', ' ')} only" if found.only else ""
    without = f", without {', '.join(found.left_out)}" if found.left_out else ""
    open_end = "" if found.resolved else ", not resolved: interval contains 0"
    return (
        f"{found.a} − {found.b}, {found.group} languages{only}{without}: "
        f"{points(found.mean)} points [{points(found.low)}, {points(found.high)}]{open_end}"
    )


def points(share: float) -> str:
    """A signed difference in percentage points, with a real minus sign; no sign on a rounded zero."""
    text = f"{100 * share:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f} %"


def _compared(found: Compared | None) -> str:
    """The difference in points with its interval; no number to quote where the interval contains 0."""
    if found is None:
        return NOTHING
    parts = [points(found.mean) if found.resolved else "not resolved"]
    parts.append(f"[{points(found.low)}, {points(found.high)}]")
    if found.only:
        parts.append(f"{found.only.replace('_', ' ')} only")
    if found.left_out:
        parts.append(f"without {', '.join(found.left_out)}")
    return "\n".join(parts)


def _elsewhere(found: Elsewhere) -> str:
    return f"{found.k}/{found.n} ({100 * found.k / found.n:.0f} %)" if found.n else NOTHING
