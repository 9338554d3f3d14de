"""The sentences that say whether a difference holds under all judges."""

from __future__ import annotations

import pytest

from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Comparison, Metrics, OtherJudge, ScoredReply
from babelguard.judges import Verdict
from babelguard.report.agreement import agreement_lines


def difference(mean: float, significant: bool, group: str = "all") -> Comparison:
    low, high = (mean - 0.01, mean + 0.01) if significant else (-0.5, 0.5)
    return Comparison(
        a="mcd",
        b="none",
        group=group,
        mean=mean,
        low=low,
        high=high,
        resamples=10,
        significant=significant,
        only=None,
        left_out=(),
    )


def judged(main: Comparison, **others: Comparison) -> Metrics:
    replies = [ScoredReply("none", None, "en", "a", "harmful", Verdict.REFUSED)]
    metrics = compute_metrics(replies, model="m", benchmark="b", split="test", judge="default")
    found = [OtherJudge(judge=name, summary=(), differences=(one,)) for name, one in others.items()]
    return metrics.model_copy(update={"differences": (main,), "other_judges": tuple(found)})


@pytest.mark.parametrize(
    ("main", "other", "expected"),
    [
        ((-0.1, True), (-0.05, True), "−10.0 (default), −5.0 (encoder). It is significant under all of these judges."),
        ((-0.1, True), (-0.05, False), "It is significant under default only."),
        (
            (-0.1, True),
            (0.05, True),
            "It is significant under default only. Under encoder, it is significant in the other direction.",
        ),
        ((-0.1, False), (-0.05, True), "It is not significant under default."),
    ],
)
def test_a_difference_holds_or_not(main: tuple[float, bool], other: tuple[float, bool], expected: str) -> None:
    (line,) = agreement_lines(judged(difference(*main), encoder=difference(*other)))
    assert line.startswith("mcd − none, error over all languages in percentage points: ")
    assert line.endswith(expected)


def test_only_all_languages_and_only_with_other_judges() -> None:
    assert agreement_lines(judged(difference(-0.1, True))) == []
    assert agreement_lines(judged(difference(-0.1, True, "unseen"), encoder=difference(-0.1, True, "unseen"))) == []
