"""Statistics: Wilson interval, variance over languages, paired bootstrap."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from babelguard.judges import LABELS, Label

# (language, row id) -> error
Errors = Mapping[tuple[str, str], float]

# Resamples are drawn in blocks of about this many counts (32 MB) to limit memory use.
BLOCK = 4_000_000


class Interval(NamedTuple):
    """A confidence interval of a rate, both ends in [0, 1]."""

    low: float
    high: float


class Difference(NamedTuple):
    """The error of one defence minus the error of another, in [-1, 1], and its percentile interval."""

    mean: float
    low: float
    high: float
    resamples: int

    @property
    def significant(self) -> bool:
        """Whether the difference is statistically significant: the interval does not contain 0."""
        return self.low > 0 or self.high < 0


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Return the Wilson score interval of a proportion.

    It stays within [0, 1] and has a positive width at k = 0 and k = n (Wilson, JASA 22, 1927).

    Args:
        k: Number of successes, 0 <= k <= n.
        n: Number of trials.
        confidence: Two-sided confidence level, between 0 and 1.

    Returns:
        The interval, or None if n is 0.

    Raises:
        ValueError: If not 0 <= k <= n or not 0 < confidence < 1.
    """
    # scipy.stats takes almost a second to import.
    from scipy.stats import binomtest

    if not 0 <= k <= n:
        raise ValueError(f"k must lie between 0 and n, but k = {k} and n = {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, but is {confidence}")
    if n == 0:
        return None
    interval = binomtest(k, n).proportion_ci(confidence, method="wilson")
    # At k = 0 and k = n the limits are exactly 0 and 1, but scipy's result has rounding errors.
    return Interval(0.0 if k == 0 else float(interval.low), 1.0 if k == n else float(interval.high))


def population_variance(values: Sequence[float]) -> float:
    """Return the population variance (divided by n, not n - 1), as in the MCD paper.

    Raises:
        ValueError: If there are no values.
    """
    if not values:
        raise ValueError("a variance needs at least one value")
    return float(np.var(np.asarray(values, dtype=float)))


def paired_bootstrap(
    errors_a: Errors,
    errors_b: Errors,
    groups: Mapping[str, Label],
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
    languages: Collection[str] | None = None,
) -> Difference:
    """Bootstrap the difference in error between two defences on a parallel test set.

    The statistic is the mean over languages of (harmful rate + harmless rate) / 2, of a minus b. Row ids are resampled:
    a prompt is kept together with its translations and with the replies of both defences, because their errors are
    correlated. Harmful and harmless rows are resampled separately. If the rows have a single label, the statistic is the
    rate of that label. The interval covers the choice of prompts, not the variation between training seeds.

    The interval is a percentile interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    Args:
        errors_a: (language, row id) -> error in [0, 1], which may be a mean over seeds.
        errors_b: The errors of the other defence, with the same keys.
        groups: Row id -> label.
        resamples: Number of resamples, at least 1.
        seed: Random seed. The result does not depend on the order of the mappings.
        confidence: Two-sided confidence level.
        languages: Use only these languages; None uses all. A row that is missing in a language is not part of its rate.

    Raises:
        ValueError: If the keys of a and b differ, a row has no label, or there are no rows.
    """
    wanted = None if languages is None else set(languages)
    keys = sorted(key for key in errors_a if wanted is None or key[0] in wanted)
    if keys != sorted(key for key in errors_b if wanted is None or key[0] in wanted):
        raise ValueError("both defences must have an error for the same languages and rows")
    if not keys:
        raise ValueError("there is no row to compare")
    if unlabelled := next((row for _, row in keys if row not in groups), None):
        raise ValueError(f"row '{unlabelled}' has no label")

    names = sorted({name for name, _ in keys})
    column = {name: index for index, name in enumerate(names)}
    rng = np.random.default_rng(seed)
    means: list[NDArray[np.float64]] = []
    draws: list[NDArray[np.float64]] = []
    for label in LABELS:
        rows = sorted({row for _, row in keys if groups[row] == label})
        if not rows:
            continue
        place = {row: index for index, row in enumerate(rows)}
        change = np.zeros((len(rows), len(names)))
        present = np.zeros((len(rows), len(names)))
        for name, row in keys:
            if row in place:
                # Subtract per row before summing, so that equal defences give exactly 0.
                change[place[row], column[name]] = errors_a[name, row] - errors_b[name, row]
                present[place[row], column[name]] = 1.0
        means.append(_rates(np.ones((1, len(rows))), change, present))
        draws.append(_resample(change, present, resamples, rng))

    # A language without rows of one label has no error. It is left out of the sample and of the resamples.
    centre = np.mean(means, axis=0)
    kept = ~np.isnan(centre[0])
    if not kept.any():
        raise ValueError("no language has both harmful and harmless rows")
    drawn = np.mean(draws, axis=0)[:, kept]
    with np.errstate(invalid="ignore"):
        moved = np.nansum(drawn, axis=1) / (~np.isnan(drawn)).sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(moved, [tail, 1 - tail])
    return Difference(float(centre[0, kept].mean()), float(low), float(high), resamples)


def _resample(
    change: NDArray[np.float64], present: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw rows with replacement and return the rates: rows x languages in, resamples x languages out."""
    rows = len(change)
    step = max(1, BLOCK // rows)
    blocks = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        picks = rng.integers(0, rows, (size, rows)) + rows * np.arange(size)[:, None]
        times = np.bincount(picks.ravel(), minlength=size * rows).reshape(size, rows).astype(float)
        blocks.append(_rates(times, change, present))
    return np.concatenate(blocks)


def _rates(
    times: NDArray[np.float64], change: NDArray[np.float64], present: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean change per language if row i counts times[:, i] times; NaN if a language has no such row."""
    with np.errstate(invalid="ignore"):
        rates: NDArray[np.float64] = (times @ change) / (times @ present)
    return rates
