"""Correct a rate for the known errors of the judge that measured it.

A judge with sensitivity Se and specificity Sp finds a true rate p as p Se + (1 - p) (1 - Sp). Rogan and Gladen (American
Journal of Epidemiology 107, 1978) solve this for p. The interval of Lang and Reiczigel (Preventive Veterinary Medicine 113,
2014, doi:10.1016/j.prevetmed.2013.09.015) also allows for the fact that Se and Sp are estimates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from babelguard.evaluation.judge_quality import Estimate, Judged
from babelguard.evaluation.outcome import COUNTED
from babelguard.judges.base import Label, Verdict


class Share(NamedTuple):
    """A share k / n."""

    k: int
    n: int

    @property
    def value(self) -> float:
        """Return k / n.

        Raises:
            ZeroDivisionError: If n is 0.
        """
        return self.k / self.n


class JudgeErrors(NamedTuple):
    """How often a judge counts a reply correctly.

    Attributes:
        sensitivity: Replies that the rate should count: the share that the judge counts.
        specificity: Replies that it should not count: the share that the judge does not count.
        other_label: Whether one of the shares is measured on replies to requests of the other label, because there are none
            with this label.
    """

    sensitivity: Share
    specificity: Share
    other_label: bool = False

    @property
    def informative(self) -> bool:
        """Whether the verdicts depend on the replies: sensitivity + specificity > 1."""
        if not self.sensitivity.n or not self.specificity.n:
            return False
        return self.sensitivity.value + self.specificity.value > 1


def judge_errors(replies: Iterable[tuple[Label, Judged]], label: Label) -> JudgeErrors:
    """Measure the errors of a judge for the rate of one label: attack success or false refusal.

    Replies that the judge left unscored are not counted, because rates leave them out too.

    Args:
        replies: Labelled replies: the label of the request, the true verdict and the verdict of the judge.
        label: The label. If there are no replies to requests with this label that the rate should count, or none that it
            should not count, those to the requests of the other label are used instead.
    """
    counted = COUNTED[label]
    known = [(of, one) for of, one in replies if one.found != Verdict.UNSCORED]
    shares, other_label = [], False
    for positive in (True, False):
        part = [(of, one) for of, one in known if (one.true in counted) == positive]
        own = [(of, one) for of, one in part if of == label]
        other_label = other_label or (bool(part) and not own)
        used = own or part
        shares.append(Share(sum((one.found in counted) == positive for _, one in used), len(used)))
    return JudgeErrors(shares[0], shares[1], other_label)


def corrected_rate(k: int, n: int, errors: JudgeErrors, confidence: float = 0.95) -> Estimate | None:
    """Return a rate corrected for the errors of the judge, with its interval, both clipped to [0, 1].

    Args:
        k: Replies that the judge counted.
        n: Replies that it judged.
        errors: Its errors.
        confidence: Two-sided confidence level, between 0 and 1.

    Returns:
        The rate, or None if n is 0 or the sensitivity and the specificity, as measured or as smoothed for the interval,
        do not add up to more than 1.

    Raises:
        ValueError: If not 0 <= k <= n or not 0 < confidence < 1.
    """
    # scipy.stats takes almost a second to import.
    from scipy.stats import norm

    if not 0 <= k <= n:
        raise ValueError(f"k must lie between 0 and n, but k = {k} and n = {n}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, but is {confidence}")
    if n == 0 or not errors.informative:
        return None
    sensitivity, specificity = errors.sensitivity.value, errors.specificity.value
    value = (k / n + specificity - 1) / (sensitivity + specificity - 1)
    # The paper adds z^2 / 2 successes and failures to the measured rate, and one of each to the errors of the judge.
    z = float(norm.ppf((1 + confidence) / 2))
    measured, size = (k + z * z / 2) / (n + z * z), n + z * z
    se, n_se = (errors.sensitivity.k + 1) / (errors.sensitivity.n + 2), errors.sensitivity.n + 2
    sp, n_sp = (errors.specificity.k + 1) / (errors.specificity.n + 2), errors.specificity.n + 2
    if se + sp <= 1:
        return None
    centre = (measured + sp - 1) / (se + sp - 1)
    of_se, of_sp = se * (1 - se) / n_se, sp * (1 - sp) / n_sp
    shift = 2 * z * z * (centre * of_se - (1 - centre) * of_sp)
    variance = measured * (1 - measured) / size + centre**2 * of_se + (1 - centre) ** 2 * of_sp
    width = z * variance**0.5 / (se + sp - 1)
    low, high = centre + shift - width, centre + shift + width
    return Estimate(value=_clip(value), low=_clip(low), high=_clip(high))


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)
