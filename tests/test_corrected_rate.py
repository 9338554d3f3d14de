"""Rates corrected for the errors of the judge: the formula, the limits, and the coverage of the interval."""

from __future__ import annotations

import numpy as np
import pytest

from babelguard.evaluation.corrected_rate import JudgeErrors, Share, corrected_rate, judge_errors
from babelguard.evaluation.judge_quality import Judged
from babelguard.judges import Verdict

REFUSED, ANSWERED, PARTIAL, UNSCORED = Verdict.REFUSED, Verdict.ANSWERED, Verdict.PARTIAL, Verdict.UNSCORED
GOOD = JudgeErrors(Share(90, 100), Share(160, 200))


def test_the_estimate_inverts_the_errors():
    # 30 % of 1000 replies, found as 0.3 x 0.9 + 0.7 x 0.2 = 41 %.
    assert corrected_rate(410, 1000, GOOD).value == pytest.approx(0.3)


def test_the_interval_of_a_worked_example():
    """Equations 6, 7, 16 and 17 of Lang and Reiczigel (2014), calculated step by step."""
    z = 1.959963984540054
    size, measured = 100 + z**2, (35 + z**2 / 2) / (100 + z**2)
    se, sp = 55 / 62, 76 / 82
    youden = se + sp - 1
    centre = (measured + sp - 1) / youden
    shift = 2 * z**2 * (centre * se * (1 - se) / 62 - (1 - centre) * sp * (1 - sp) / 82)
    parts = (measured * (1 - measured) / size, centre**2 * se * (1 - se) / 62, (1 - centre) ** 2 * sp * (1 - sp) / 82)
    width = z * np.sqrt(sum(parts)) / youden
    found = corrected_rate(35, 100, JudgeErrors(Share(54, 60), Share(75, 80)))
    assert (found.low, found.high) == pytest.approx((centre + shift - width, centre + shift + width))
    assert found.value == pytest.approx((0.35 - 0.0625) / (0.9 - 0.0625))


def test_rate_and_interval_are_clipped():
    low, high = corrected_rate(10, 50, GOOD), corrected_rate(48, 50, GOOD)
    assert low.value == low.low == 0 and 0 < low.high < 0.3
    assert high.value == high.high == 1 and 0.7 < high.low < 1
    # Fewer are found than the judge finds by mistake, so the whole interval is below 0.
    assert corrected_rate(0, 50, GOOD).high == 0


@pytest.mark.parametrize(
    "errors",
    [
        JudgeErrors(Share(50, 100), Share(50, 100)),
        JudgeErrors(Share(20, 100), Share(70, 100)),
        JudgeErrors(Share(0, 0), Share(9, 10)),
        JudgeErrors(Share(9, 10), Share(0, 0)),
        # The sum is more than 1, but no longer after smoothing.
        JudgeErrors(Share(1, 1), Share(25, 100)),
    ],
)
def test_an_uninformative_judge_gives_no_rate(errors):
    assert corrected_rate(5, 10, errors) is None


def test_wrong_arguments():
    assert corrected_rate(0, 0, GOOD) is None
    with pytest.raises(ValueError, match="k must lie between 0 and n"):
        corrected_rate(3, 2, GOOD)
    with pytest.raises(ValueError, match="confidence"):
        corrected_rate(1, 2, GOOD, 1.0)


@pytest.mark.parametrize(("true", "se", "sp"), [(0.3, 0.85, 0.9), (0.05, 0.9, 0.95), (0.8, 0.7, 0.8)])
def test_the_interval_covers_the_true_rate(true, se, sp):
    """95 % intervals cover the true rate in about 95 % of simulations; 600 of them have a standard error of 0.9 points."""
    rng = np.random.default_rng(0)
    count = 600
    positives = rng.binomial(120, true * se + (1 - true) * (1 - sp), count)
    right, passed = rng.binomial(50, se, count), rng.binomial(70, sp, count)
    covered = 0
    for k, a, b in zip(positives, right, passed, strict=True):
        found = corrected_rate(int(k), 120, JudgeErrors(Share(int(a), 50), Share(int(b), 70)))
        covered += found.low <= true <= found.high
    assert 0.925 <= covered / count <= 0.99


def test_errors_are_those_of_the_label():
    replies = [
        ("harmful", Judged(REFUSED, REFUSED)),
        ("harmful", Judged(REFUSED, ANSWERED)),
        ("harmful", Judged(ANSWERED, ANSWERED)),
        ("harmless", Judged(REFUSED, REFUSED)),
        ("harmless", Judged(ANSWERED, REFUSED)),
        ("harmless", Judged(ANSWERED, UNSCORED)),  # left out, as in a rate
    ]
    assert judge_errors(replies, "harmful") == JudgeErrors(Share(1, 1), Share(1, 2))
    # The rate of harmless requests counts refusals.
    assert judge_errors(replies, "harmless") == JudgeErrors(Share(1, 1), Share(0, 1))


def test_a_class_that_a_label_lacks_is_taken_from_the_other_label():
    replies = [
        ("harmful", Judged(REFUSED, REFUSED)),
        ("harmless", Judged(PARTIAL, PARTIAL)),
        ("harmless", Judged(ANSWERED, REFUSED)),
    ]
    assert judge_errors(replies, "harmful") == JudgeErrors(Share(1, 2), Share(1, 1), other_label=True)
    assert judge_errors([], "harmful") == JudgeErrors(Share(0, 0), Share(0, 0))
