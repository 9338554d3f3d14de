"""The three numbers behind every claim: a Wilson interval, a variance over languages, a paired bootstrap."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Label = Literal["harmful", "harmless"]
LABELS: tuple[Label, Label] = ("harmful", "harmless")
Errors = Mapping[tuple[str, str], float]

# Resamples are drawn in blocks of about this many counts (32 MB), so that large sets do not fill the memory.
BLOCK = 4_000_000


class Interval(NamedTuple):
    """A confidence interval of a rate, both ends in [0, 1]."""

    low: float
    high: float


class Difference(NamedTuple):
    """The error of one defence minus that of another, in [-1, 1], and its percentile interval."""

    mean: float
    low: float
    high: float
    resamples: int

    @property
    def resolved(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval | None:
    """The Wilson score interval of a proportion.

    Source: Wilson, JASA 22 (1927). It stays inside [0, 1] and does not shrink to a point at k = 0 or k = n.

    Args:
        k: Successes, 0 <= k <= n.
        n: Trials. Nothing is known from none, so n = 0 gives None (never NaN, which JSON cannot hold).
        confidence: Two-sided level, between 0 and 1.

    Raises:
        ValueError: if not 0 <= k <= n or not 0 < confidence < 1.
    """
    if not 0 <= k <= n:
        raise ValueError(f"k must lie between 0 and n, but k = {k} and n = {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, but is {confidence}")
    if n == 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = k / n
    scale = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z / scale * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    # At the ends the bound is exactly the rate; rounding would otherwise leave 1e-17 in place of 0.
    return Interval(0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half)


def population_variance(values: Sequence[float]) -> float:
    """The mean squared deviation from the mean (divided by the number of values, not by one less).

    The languages are all that are meant, not a sample; the variances of the MCD paper are of this kind.

    Raises:
        ValueError: if there are no values.
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
    """Resample the rows of a parallel test set and see how the difference of two defences moves.

    The statistic is the mean over languages of (harmful rate + harmless rate) / 2, of a minus b. The unit
    that is resampled is the row id: a prompt stays together with its translations and with the replies of
    both defences, because their errors hang together. Harmful and harmless ids are resampled apart, each to
    its own number. If the rows have only one label, the statistic is the rate of that label. The interval
    speaks about the choice of prompts; it knows nothing of the spread between training seeds.

    Source: percentile interval, Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Args:
        errors_a: (language, row id) -> error in [0, 1]; a mean over seeds or samples is as good as 0 or 1.
        errors_b: The same keys for the other defence.
        groups: Row id -> its label.
        resamples: How many times to resample, at least 1.
        seed: Of the random numbers. The order of the mappings does not matter.
        confidence: Two-sided level of the interval.
        languages: Only these languages; None takes all. A row that a language lacks is not in its rate.

    Raises:
        ValueError: if the keys of a and b differ, a row has no label, or no row is left.
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
                # The difference is taken per row before any sum, so that equal defences give exactly 0.
                change[place[row], column[name]] = errors_a[name, row] - errors_b[name, row]
                present[place[row], column[name]] = 1.0
        means.append(_rates(np.ones((1, len(rows))), change, present))
        draws.append(_resample(change, present, resamples, rng))

    # A language that lacks a label has no error, in the sample as in every resample.
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
    """Rates of draws with replacement: rows x languages in, resamples x languages out."""
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
    """Mean change per language if row i counts times[:, i] times; NaN where a language has no such row."""
    with np.errstate(invalid="ignore"):
        rates: NDArray[np.float64] = (times @ change) / (times @ present)
    return rates
