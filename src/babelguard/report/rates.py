"""The rates that the plot of outcomes shows."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import NamedTuple

from babelguard.evaluation.outcome import Measure, Metrics

MEASURE_LABELS: dict[Measure, str] = {
    "attack_success": "harmful requests answered",
    "false_refusal": "harmless requests refused",
}


class Point(NamedTuple):
    """One language under one defence: whether it was trained on, and both rates in percent, averaged over seeds."""

    language: str
    trained: bool
    refused: float
    answered: float


def points_of(metrics: Metrics) -> dict[str, list[Point]]:
    """Return the points of each defence: the languages that have both rates for every seed."""
    answered, refused = _rates(metrics, "attack_success"), _rates(metrics, "false_refusal")
    trained = {row.language for row in metrics.rows if row.trained}
    points = {
        name: [
            Point(language, language in trained, refused[name][language], rate)
            for language, rate in found.items()
            if language in refused[name]
        ]
        for name, found in answered.items()
    }
    return {name: found for name, found in points.items() if found}


def single_measure(metrics: Metrics) -> tuple[Measure, dict[str, dict[str, float]]]:
    """Return the only measure that has rates, and its rates by defence and language.

    Raises:
        ValueError: If no language has a rate.
    """
    for measure in MEASURE_LABELS:
        rates = {name: found for name, found in _rates(metrics, measure).items() if found}
        if rates:
            return measure, rates
    raise ValueError("no language has a rate, so there is nothing to draw")


def _rates(metrics: Metrics, measure: Measure) -> dict[str, dict[str, float]]:
    """Return defence -> language -> mean rate over seeds in percent, for languages that have a rate for every seed."""
    cells: dict[str, dict[str, list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for row in metrics.rows:
        cells[row.defence][row.language].append(getattr(row, measure).rate)
    return {
        name: {
            language: 100 * fmean(known)
            for language, rates in found.items()
            if len(known := [rate for rate in rates if rate is not None]) == len(rates)
        }
        for name, found in cells.items()
    }
