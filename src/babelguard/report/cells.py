"""Format numbers as text for table cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from babelguard.evaluation.outcome import Cell, OtherLanguage, Row, Spread

# The cells of one table row.
Cells = tuple[str, ...]
# A defence and its random seed.
Run = tuple[str, int | None]

EMPTY = "–"
# Separates the parts of a cell. The terminal replaces it by a line break if the table is too wide.
SEPARATOR = ", "


def cell_text(cell: Cell) -> str:
    """Format a rate as `12/100  12 % [7–20]` (counted/judged replies), then the numbers of replies that it does not count."""
    if cell.n == 0:
        return EMPTY
    count = f"{cell.k}/{cell.scored}"
    apart = [f"{n} {what}" for n, what in ((cell.unhelpful, "unhelpful"), (cell.broken, "broken")) if n]
    unscored = [f"{cell.unscored} unscored"] if cell.unscored else []
    if cell.rate is None or cell.low is None or cell.high is None:
        return SEPARATOR.join([f"{count}  no rate: {unscored[0]}", *apart])
    rate = f"{count}  {100 * cell.rate:.0f} % [{100 * cell.low:.0f}–{100 * cell.high:.0f}]"
    return SEPARATOR.join([rate, *apart, *unscored])


def row_texts(row: Row | None) -> Cells:
    """Format attack success, false refusal, and false refusal on hard rows. A missing row gives empty cells."""
    if row is None:
        return EMPTY, EMPTY, EMPTY
    other = row.other_language.k
    notes = [f"{other} in another language"] if other else []
    bare = row.support.refused
    harmful = [f"{bare} without support"] if bare else []
    return (
        SEPARATOR.join([cell_text(row.attack_success), *harmful]),
        SEPARATOR.join([cell_text(row.false_refusal), *notes]),
        EMPTY if row.hard_refusal is None else cell_text(row.hard_refusal),
    )


def other_language_text(count: OtherLanguage) -> str:
    """Format answers in another language as `3/10 (30 %)`."""
    return f"{count.k}/{count.n} ({100 * count.k / count.n:.0f} %)" if count.n else EMPTY


def percent(share: float | None) -> str:
    """Format a share as a percentage with one decimal."""
    return EMPTY if share is None else f"{100 * share:.1f} %"


def points(share: float) -> str:
    """Format a difference in percentage points with its sign. A difference that rounds to zero has no sign."""
    text = f"{100 * share:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def _worst(spread: Spread) -> str:
    return EMPTY if spread.worst is None else f"{percent(spread.worst)} ({spread.worst_language})"


def _variance(spread: Spread) -> str:
    return EMPTY if spread.variance is None else f"{spread.variance:.1f}"


STATISTICS: dict[str, Callable[[Spread], str]] = {
    "mean": lambda spread: percent(spread.mean),
    "worst": _worst,
    "variance": _variance,
}


def all_statistics(spread: Spread) -> str:
    """Format mean, worst language and variance in one cell."""
    if spread.mean is None:
        return EMPTY
    return SEPARATOR.join(f"{name} {show(spread)}" for name, show in STATISTICS.items())


def run_names(runs: Iterable[Run]) -> dict[Run, str]:
    """Return the name of each run: the defence, with its seed if the defence was run with several seeds."""
    known = list(dict.fromkeys(runs))
    counts = Counter(defence for defence, _ in known)
    return {(name, seed): name if counts[name] == 1 else f"{name} (seed {seed})" for name, seed in known}
