"""Plot both error rates of each defence and language. The best results are in the lower left corner."""

from __future__ import annotations

import textwrap
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from babelguard.evaluation.outcome import Measure, Metrics
from babelguard.languages import display_name
from babelguard.report.point_labels import Obstacle, PointLabel, place_labels
from babelguard.report.rates import MEASURE_LABELS, Point, points_of, single_measure
from babelguard.report.style import FAINT, INK, STYLE, colour_and_marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# With more defences than this, only the baseline and the best defence have language labels, to keep the plot readable.
MAX_LABELLED = 3
NO_DEFENCE = "none"


def draw_outcomes(metrics: Metrics, path: Path) -> None:
    """Draw the outcomes into a PNG file, or into an SVG file if the path ends in `.svg`.

    Each defence has one colour, a small point with a language code for each language, and a large marker for the mean
    over languages. An arrow leads from `none` to the defence with the smallest mean error. Languages without a rate are
    not drawn. If all rows have the same label, the plot has one line per language with its rates instead.

    Args:
        metrics: The metrics.
        path: The file to write; its folder must exist.

    Raises:
        ValueError: If no language has a rate.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = points_of(metrics)
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 7.4), dpi=150, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if points:
            _draw_both_rates(figure, axes, points)
        else:
            _draw_single_rate(axes, *single_measure(metrics))
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(_title(metrics), loc="left", fontsize=13, pad=12)
        # Without a date, the same numbers give the same file.
        path.unlink(missing_ok=True)  # what a link points to is left alone
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_both_rates(figure: Figure, axes: Axes, points: dict[str, list[Point]]) -> None:
    means = {
        name: (fmean(point.refused for point in found), fmean(point.answered for point in found))
        for name, found in points.items()
    }
    best = min(means, key=lambda name: sum(means[name]))
    first = NO_DEFENCE if NO_DEFENCE in means else next(iter(means))
    labelled = set(points) if len(points) <= MAX_LABELLED else {first, best}
    every = [point for found in points.values() for point in found]
    languages = {point.language for point in every}
    some_unseen = len({point.trained for point in every}) == 2
    _set_up_axes(axes, every)

    labels = []
    for index, (name, found) in enumerate(points.items()):
        colour, marker = colour_and_marker(index)
        opacity = 1.0 if name in labelled else 0.45
        for point in found:
            face = "white" if some_unseen and not point.trained else colour
            place = (point.refused, point.answered)
            axes.plot(*place, marker, color=colour, markerfacecolor=face, markersize=6, alpha=opacity, zorder=4)
            if name in labelled:
                labels.append(PointLabel(point.language, place, colour))
        missing = len(languages) - len(found)
        count = f" ({len(found)} of {len(languages)} languages)" if missing else ""
        legend = f"{name}: {means[name][1]:.0f} % answered, {means[name][0]:.0f} % refused{count}"
        _draw_mean(axes, means[name], colour, marker)
        axes.plot([], [], marker, color=colour, markersize=10, label=legend)
    obstacles = [Obstacle((point.refused, point.answered), 5.0) for point in every]
    obstacles += [Obstacle(mean, 11.0) for mean in means.values()]
    if best != first:
        obstacles += _draw_arrow(axes, means[first], means[best])
    notes = ["large: mean over languages", "arrow: to the smallest mean error"][: 1 + (best != first)]
    notes += ["hollow: language not trained on"] if some_unseen else []
    notes += [f"language codes for {first} and {best} only"] if len(labelled) < len(points) else []
    # Below the axes, where the legend covers no points.
    figure.legend(
        loc="outside lower left",
        title=textwrap.fill("; ".join(notes), 95),
        title_fontsize=11,
        fontsize=11.5,
        alignment="left",
        frameon=False,
        ncols=2,
        columnspacing=3,
    )
    place_labels(figure, axes, labels, obstacles)


def _set_up_axes(axes: Axes, points: list[Point]) -> None:
    # Both axes start a little below 0, so that points at 0 are not cut off.
    for set_limits, largest in (
        (axes.set_xlim, max(point.refused for point in points)),
        (axes.set_ylim, max(point.answered for point in points)),
    ):
        end = min(100.0, max(10.0, 1.1 * largest))
        set_limits(-0.045 * end, 1.045 * end)
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
    axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    axes.grid(color="#EDEDED", linewidth=0.8)
    axes.set_axisbelow(True)
    # The label of the vertical axis is rotated, so its arrow points down.
    axes.set_xlabel(f"← better     {MEASURE_LABELS['false_refusal']}")
    axes.set_ylabel(f"← better     {MEASURE_LABELS['attack_success']}")


def _draw_mean(axes: Axes, mean: tuple[float, float], colour: str, marker: str) -> None:
    # Transparent, because single languages often lie under the mean.
    axes.plot(*mean, marker, color=colour, markersize=20, alpha=0.3, markeredgewidth=0, zorder=2)
    axes.plot(*mean, marker, color=colour, markersize=20, markerfacecolor="none", markeredgewidth=2.4, zorder=3)


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> list[Obstacle]:
    """Draw an arrow between two means. Returns the places along it, which labels should not cover."""
    arrow = {"arrowstyle": "-|>,head_width=0.4,head_length=0.8", "color": INK, "linewidth": 1.6}
    axes.annotate("", end, start, arrowprops={**arrow, "shrinkA": 12, "shrinkB": 12}, zorder=3.5)
    (x, y), (to_x, to_y) = start, end
    return [Obstacle((x + step * (to_x - x) / 20, y + step * (to_y - y) / 20), 4.0) for step in range(1, 20)]


def _draw_single_rate(axes: Axes, measure: Measure, rates: dict[str, dict[str, float]]) -> None:
    """Draw one line per language with the rate of each defence, the language with the highest rate at the top."""
    languages = list(dict.fromkeys(language for found in rates.values() for language in found))
    first = next(iter(rates.values()))
    languages.sort(key=lambda language: first.get(language, 0.0))
    for index, language in enumerate(languages):
        here = [found[language] for found in rates.values() if language in found]
        axes.plot([min(here), max(here)], [index, index], color="#D0D0D0", linewidth=3, zorder=1)
    for index, (name, found) in enumerate(rates.items()):
        colour, marker = colour_and_marker(index)
        heights = [languages.index(language) for language in found]
        label = f"{name}: {fmean(found.values()):.0f} % on average"
        axes.plot(list(found.values()), heights, marker, color=colour, markersize=10, zorder=2, label=label)
    axes.set_yticks(range(len(languages)), [display_name(language) for language in languages])
    axes.set_xlim(left=min(-1.0, axes.get_xlim()[0]))
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.grid(axis="x", color="#EDEDED")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{MEASURE_LABELS[measure]} (lower is better)")
    axes.legend(loc="best", fontsize=11.5, framealpha=0.92, edgecolor="#DDDDDD")


def _title(metrics: Metrics) -> str:
    row = metrics.rows[0]
    attack = "" if row.attack == "none" else f", attack: {row.attack}"
    return f"{row.model} on {row.benchmark} ({row.split}{attack})"
