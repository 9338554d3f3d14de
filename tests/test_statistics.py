"""Intervals, the population variance and the paired bootstrap."""

import time
from itertools import combinations_with_replacement

import numpy as np
import pytest

from babelguard.evaluation.statistics import paired_bootstrap, population_variance, wilson
from babelguard.judges.base import Label

Z = 1.959963984540054
Labels = dict[str, Label]


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_published_intervals(k: int, n: int, low: float, high: float) -> None:
    interval = wilson(k, n)
    assert interval is not None
    assert interval == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 7, 50, 100, 10_000])
def test_wilson_at_the_ends(n: int) -> None:
    # The closed form at k = 0 is [0, z^2 / (n + z^2)], and k = n is its mirror image.
    assert wilson(0, n) == pytest.approx((0, Z**2 / (n + Z**2)))
    assert wilson(n, n) == pytest.approx((n / (n + Z**2), 1))
    low, high = wilson(0, n) or (None, None), wilson(n, n) or (None, None)
    assert low[0] == 0.0 and high[1] == 1.0


def test_wilson_contains_the_rate_and_stays_in_bounds() -> None:
    for n in range(1, 60):
        for k in range(n + 1):
            interval = wilson(k, n)
            assert interval is not None
            assert 0 <= interval.low <= k / n <= interval.high <= 1


def test_wilson_widens_with_confidence() -> None:
    narrow, wide = wilson(12, 100, confidence=0.8), wilson(12, 100, confidence=0.99)
    assert narrow is not None and wide is not None
    assert wide.low < narrow.low and narrow.high < wide.high


def test_wilson_of_nothing_is_none() -> None:
    assert wilson(0, 0) is None


@pytest.mark.parametrize(("k", "n", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)])
def test_wilson_rejects_invalid_arguments(k: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="must lie between"):
        wilson(k, n, confidence)


def test_variance_is_the_population_variance_of_the_paper() -> None:
    """The MCD paper's 18.64: five counts out of 100, sum 38, sum of squares 382, population variance."""
    fitting = [
        counts
        for counts in combinations_with_replacement(range(20), 5)
        if sum(counts) == 38 and sum(count * count for count in counts) == 382
    ]
    assert fitting
    assert all(population_variance(counts) == pytest.approx(18.64) for counts in fitting)


def test_variance_of_one_and_of_none() -> None:
    assert population_variance([7.0]) == 0
    with pytest.raises(ValueError, match="at least one"):
        population_variance([])


def parallel(
    rng: np.random.Generator, languages: int, rows: int, rate: float, correlated: bool
) -> tuple[dict[tuple[str, str], float], Labels]:
    """Return errors by language and row, half of them harmful. Correlated rows have the same error in all languages."""
    labels: Labels = {f"r{row}": "harmful" if row % 2 else "harmless" for row in range(rows)}
    shape = (rows, 1) if correlated else (rows, languages)
    drawn = np.broadcast_to(rng.random(shape) < rate, (rows, languages))
    return {(f"l{j}", f"r{i}"): float(drawn[i, j]) for i in range(rows) for j in range(languages)}, labels


def test_identical_defences_have_a_difference_of_exactly_0() -> None:
    errors, labels = parallel(np.random.default_rng(1), 5, 60, 0.3, correlated=False)
    change = paired_bootstrap(errors, dict(errors), labels, resamples=500)
    assert change == (0, 0, 0, 500)
    assert not change.significant


def test_constant_shift_is_found_without_spread() -> None:
    errors, labels = parallel(np.random.default_rng(2), 4, 50, 0.5, correlated=False)
    better = {key: error - 0.25 for key, error in errors.items()}
    change = paired_bootstrap(better, errors, labels, resamples=500)
    assert change[:3] == pytest.approx((-0.25, -0.25, -0.25))
    assert change.significant


def test_point_estimate_is_the_mean_of_both_rates_over_languages() -> None:
    labels: Labels = {"h1": "harmful", "h2": "harmful", "s1": "harmless"}
    a = {("en", "h1"): 1.0, ("en", "h2"): 0.0, ("en", "s1"): 1.0}
    a |= {("ko", "h1"): 0.0, ("ko", "h2"): 0.0, ("ko", "s1"): 0.0}
    b = dict.fromkeys(a, 0.0)
    # en: (1/2 + 1) / 2 = 0.75, ko: 0. Pooling rows would give 2/6 instead.
    assert paired_bootstrap(a, b, labels, resamples=10).mean == pytest.approx(0.375)
    assert paired_bootstrap(a, b, labels, resamples=10, languages=["en"]).mean == pytest.approx(0.75)


def test_interval_agrees_with_the_normal_approximation() -> None:
    """One language and one label: the bootstrap error of a mean is s / sqrt(n)."""
    rng = np.random.default_rng(3)
    labels: Labels = {f"r{row}": "harmful" for row in range(400)}
    a = {("en", row): float(rng.random() < 0.4) for row in labels}
    b = {("en", row): float(rng.random() < 0.2) for row in labels}
    gaps = np.array([a[key] - b[key] for key in a])
    change = paired_bootstrap(a, b, labels)
    half = Z * gaps.std() / 20
    assert change.mean == pytest.approx(gaps.mean())
    assert (change.low, change.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half), abs=0.006)


def test_translations_of_a_prompt_stay_together() -> None:
    """Nine copies of the same errors give the same interval as one. Resampling them separately would narrow it."""
    rng = np.random.default_rng(4)
    together, labels = parallel(rng, 9, 200, 0.3, correlated=True)
    apart, _ = parallel(rng, 9, 200, 0.3, correlated=False)
    zero = dict.fromkeys(together, 0.0)
    wide = paired_bootstrap(together, zero, labels, resamples=2000)
    narrow = paired_bootstrap(apart, zero, labels, resamples=2000)
    single = paired_bootstrap(together, zero, labels, resamples=2000, languages=["l0"])
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert (wide.low, wide.high) == pytest.approx((single.low, single.high))


def test_both_defences_share_the_resampled_rows() -> None:
    """Pairing finds a difference between defences that fail on the same prompts, although each rate is uncertain."""
    labels: Labels = {f"r{row}": "harmful" if row % 2 else "harmless" for row in range(100)}
    b = {("en", row): float(int(row[1:]) % 4 < 2) for row in labels}
    a = {key: 0.9 * error for key, error in b.items()}
    paired = paired_bootstrap(a, b, labels, resamples=1000)
    alone = paired_bootstrap(b, dict.fromkeys(b, 0.0), labels, resamples=1000)
    assert paired.significant
    assert alone.high - alone.low > 5 * (paired.high - paired.low)


def test_order_does_not_matter_and_seeds_repeat() -> None:
    rng = np.random.default_rng(5)
    a, labels = parallel(rng, 3, 40, 0.4, correlated=False)
    b, _ = parallel(rng, 3, 40, 0.2, correlated=False)
    turned = paired_bootstrap(
        dict(reversed(a.items())),
        b,
        dict(reversed(labels.items())),
        resamples=300,
        languages=["l2", "l0", "l1"],
    )
    assert turned == paired_bootstrap(a, b, labels, resamples=300)
    assert turned != paired_bootstrap(a, b, labels, resamples=300, seed=1)


def test_swapping_the_defences_mirrors_the_interval() -> None:
    rng = np.random.default_rng(6)
    a, labels = parallel(rng, 3, 40, 0.4, correlated=False)
    b, _ = parallel(rng, 3, 40, 0.2, correlated=False)
    there, back = paired_bootstrap(a, b, labels, 300), paired_bootstrap(b, a, labels, 300)
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low))


def test_large_sets_are_drawn_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    a, labels = parallel(np.random.default_rng(7), 2, 40, 0.4, correlated=False)
    zero = dict.fromkeys(a, 0.0)
    labels = dict.fromkeys(labels, "harmful")
    whole = paired_bootstrap(a, zero, labels, resamples=100)
    monkeypatch.setattr("babelguard.evaluation.statistics.BLOCK", 7 * 40)
    assert paired_bootstrap(a, zero, labels, resamples=100) == whole


def test_language_without_one_label_has_no_error() -> None:
    labels: Labels = {"h": "harmful", "s": "harmless"}
    a = {("en", "h"): 1.0, ("en", "s"): 0.0, ("ko", "h"): 1.0}
    assert paired_bootstrap(a, dict.fromkeys(a, 0.0), labels, 10).mean == 0.5
    split = {("en", "h"): 1.0, ("ko", "s"): 0.0}
    with pytest.raises(ValueError, match="both harmful and harmless"):
        paired_bootstrap(split, split, labels, 10)


def test_row_that_a_language_lacks_is_not_in_its_rate() -> None:
    labels: Labels = {"h1": "harmful", "h2": "harmful"}
    a = {("en", "h1"): 1.0, ("en", "h2"): 0.0, ("ko", "h1"): 1.0}
    change = paired_bootstrap(a, dict.fromkeys(a, 0.0), labels, 200)
    assert change.mean == pytest.approx(0.75)
    assert change.low == 0 and change.high == 1


def test_different_rows_are_rejected() -> None:
    labels: Labels = {"h": "harmful"}
    with pytest.raises(ValueError, match="same languages and rows"):
        paired_bootstrap({("en", "h"): 1.0}, {("ko", "h"): 1.0}, labels)
    with pytest.raises(ValueError, match="no row"):
        paired_bootstrap({("en", "h"): 1.0}, {("en", "h"): 1.0}, labels, languages=["ko"])
    with pytest.raises(ValueError, match="no label"):
        paired_bootstrap({("en", "x"): 1.0}, {("en", "x"): 1.0}, labels)


def test_is_fast_enough_for_every_pair() -> None:
    rng = np.random.default_rng(8)
    a, labels = parallel(rng, 9, 200, 0.3, correlated=False)
    b, _ = parallel(rng, 9, 200, 0.3, correlated=False)
    start = time.process_time()
    paired_bootstrap(a, b, labels, resamples=10_000)
    assert time.process_time() - start < 2
