"""How good a judge is, and how well two judges agree, on small cases that can be counted by hand."""

from __future__ import annotations

import pytest

from babelguard.evaluation.judge_quality import Judged, agreement, confusion, mean_of_rates, quality, rate
from babelguard.evaluation.statistics import wilson
from babelguard.judges import Verdict

REFUSED, SUPPORTED, PARTIAL, ANSWERED = Verdict.REFUSED, Verdict.SUPPORTED, Verdict.PARTIAL, Verdict.ANSWERED
UNHELPFUL, UNSCORED = Verdict.UNHELPFUL, Verdict.UNSCORED


def judged(*pairs):
    return [Judged(true, found) for true, found in pairs]


PAIRS = judged(
    *[(REFUSED, REFUSED)] * 3,
    (REFUSED, SUPPORTED),  # the wrong kind of refusal still counts as found
    (SUPPORTED, ANSWERED),
    (SUPPORTED, UNSCORED),
    *[(ANSWERED, ANSWERED)] * 2,
    (PARTIAL, REFUSED),
    (UNHELPFUL, UNSCORED),
)


def test_rates_are_counted_by_hand():
    found = quality(PAIRS)
    assert (found.n, found.unscored) == (10, 2)
    counts = {name: getattr(found, name) for name in ("recall", "precision", "specificity", "false_positive_rate")}
    assert {name: (one.k, one.n) for name, one in counts.items()} == {
        "recall": (4, 6),
        "precision": (4, 5),
        "specificity": (2, 4),
        "false_positive_rate": (1, 4),
    }
    for one in counts.values():
        assert one.value == one.k / one.n
        assert (one.low, one.high) == wilson(one.k, one.n)
    assert found.balanced_accuracy.value == pytest.approx((4 / 6 + 2 / 4) / 2)


def test_rates_without_replies_are_none():
    only_refusals = quality(judged((REFUSED, ANSWERED)))
    assert only_refusals.recall.value == 0
    assert only_refusals.precision is only_refusals.specificity is only_refusals.balanced_accuracy is None
    assert only_refusals.false_positive_rate is None
    assert quality([]).n == 0


def test_the_interval_of_a_mean_recovers_the_variances():
    a, b = rate(40, 50), rate(30, 60)
    found = mean_of_rates(a, b)
    assert found.value == pytest.approx((0.8 + 0.5) / 2)
    assert found.value - found.low == pytest.approx(((0.8 - a.low) ** 2 + (0.5 - b.low) ** 2) ** 0.5 / 2)
    assert found.high - found.value == pytest.approx(((a.high - 0.8) ** 2 + (b.high - 0.5) ** 2) ** 0.5 / 2)
    # It stays within [0, 1].
    assert mean_of_rates(rate(0, 5), rate(0, 9)).low == 0 and mean_of_rates(rate(5, 5), rate(9, 9)).high == 1
    assert mean_of_rates(None, b) is None


def test_the_confusion_has_a_row_per_true_verdict():
    counts = confusion(PAIRS)
    assert list(counts) == [REFUSED, SUPPORTED, PARTIAL, ANSWERED, UNHELPFUL]
    assert counts[REFUSED][REFUSED] == 3 and counts[REFUSED][SUPPORTED] == 1 and counts[SUPPORTED][UNSCORED] == 1
    assert sum(sum(row.values()) for row in counts.values()) == len(PAIRS)


def test_kappa_by_hand():
    a = [REFUSED] * 5 + [ANSWERED] * 5
    b = [REFUSED] * 4 + [ANSWERED] * 3 + [SUPPORTED] + [ANSWERED] * 2
    found = agreement(a, b)
    assert found.n == 10
    # The judges agree on 8 of 10. By chance, they agree on 5 x 5 + 5 x 5 of 100.
    assert found.refusing == pytest.approx((0.8 - 0.5) / (1 - 0.5))
    # With all verdicts, by chance on 5 x 4 + 5 x 5 + 0 x 1 of 100.
    assert found.verdicts == pytest.approx((0.8 - 0.45) / (1 - 0.45))


def test_unscored_replies_are_left_out_of_the_agreement():
    found = agreement([REFUSED, ANSWERED, UNSCORED, REFUSED], [REFUSED, ANSWERED, ANSWERED, UNSCORED])
    assert (found.n, found.refusing, found.verdicts) == (2, 1, 1)


def test_kappa_of_a_single_verdict_is_not_defined(recwarn):
    assert agreement([ANSWERED] * 3, [ANSWERED] * 3).verdicts is None
    found = agreement([REFUSED, REFUSED], [REFUSED, SUPPORTED])
    assert found.refusing is None and found.verdicts == 0
    assert agreement([], []).n == 0
    assert not recwarn.list
