"""The picture of outcomes: each language of each defence in the plane of both errors, lower left is best."""

from __future__ import annotations

import math
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from babelguard.evaluation.outcome import Measure, Metrics
from babelguard.languages import display_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, without their yellow (too pale on white): told apart with any kind of colour
# vision. The marker says the same once more, for prints in grey. Further defences begin again.
COLOURS = ("#7A7A7A", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, FAINT = "#222222", "#8C8C8C"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    # Names in the file do not depend on the run, so that the same numbers give the same SVG.
    "svg.hashsalt": "babelguard",
}
# With more defences than this only the first and the best are labelled by language, or nothing could be read.
LABELLED = 3
NO_DEFENCE = "none"
AXES: dict[Measure, str] = {
    "harmful_answered": "harmful requests answered",
    "harmless_refused": "harmless requests refused",
}


class Spot(NamedTuple):
    """A language under a defence: both rates in percent (means over seeds), and whether it was trained on."""

    language: str
    trained: bool
    refused: float
    answered: float


def draw_outcomes(metrics: Metrics, path: Path) -> None:
    """Draw the outcomes into a PNG, or into an SVG if the path ends in `.svg`.

    One colour per defence, one small point per language with its code, a big marker for the mean over
    languages and an arrow from `none` to the defence with the smallest mean error. Languages without a rate
    are not drawn. Where the rows have a single label there is no plane, and each language gets a line with
    its rates instead.

    Args:
        metrics: What was measured.
        path: Where the picture goes; its folder exists.

    Raises:
        ValueError: if no language has a rate.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spots = _spots(metrics)
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 7.4), dpi=150, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if spots:
            _draw_plane(figure, axes, spots)
        else:
            _draw_lines(axes, *_single(metrics))
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(_title(metrics), loc="left", fontsize=13, pad=12)
        # Without a date in it, the same numbers give the same file.
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_plane(figure: Figure, axes: Axes, spots: dict[str, list[Spot]]) -> None:
    means = {
        name: (fmean(spot.refused for spot in found), fmean(spot.answered for spot in found))
        for name, found in spots.items()
    }
    best = min(means, key=lambda name: sum(means[name]))
    first = NO_DEFENCE if NO_DEFENCE in means else next(iter(means))
    labelled = set(spots) if len(spots) <= LABELLED else {first, best}
    every = [spot for found in spots.values() for spot in found]
    languages = {spot.language for spot in every}
    some_unseen = len({spot.trained for spot in every}) == 2

    # A little room below 0, so that the points of perfect languages are whole.
    for limit, top in (
        (axes.set_xlim, max(spot.refused for spot in every)),
        (axes.set_ylim, max(spot.answered for spot in every)),
    ):
        end = min(100.0, max(10.0, 1.1 * top))
        limit(-0.045 * end, 1.045 * end)
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
    axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    axes.grid(color="#EDEDED", linewidth=0.8)
    axes.set_axisbelow(True)
    # On the upright axis the text is turned, so that the same arrow points down.
    axes.set_xlabel(f"← better     {AXES['harmless_refused']}")
    axes.set_ylabel(f"← better     {AXES['harmful_answered']}")

    texts = []
    for index, (name, found) in enumerate(spots.items()):
        colour, marker = _look(index)
        strength = 1.0 if name in labelled else 0.45
        for spot in found:
            face = "white" if some_unseen and not spot.trained else colour
            point = (spot.refused, spot.answered)
            axes.plot(*point, marker, color=colour, markerfacecolor=face, markersize=6, alpha=strength, zorder=4)
            if name in labelled:
                texts.append((spot.language, point, colour))
        missing = len(languages) - len(found)
        reach = f" ({len(found)} of {len(languages)} languages)" if missing else ""
        label = f"{name}: {means[name][1]:.0f} % answered, {means[name][0]:.0f} % refused{reach}"
        # Transparent inside, because points of single languages often lie under the mean.
        axes.plot(*means[name], marker, color=colour, markersize=20, alpha=0.3, markeredgewidth=0, zorder=2)
        axes.plot(
            *means[name],
            marker,
            color=colour,
            markersize=20,
            markerfacecolor="none",
            markeredgewidth=2.4,
            zorder=3,
        )
        axes.plot([], [], marker, color=colour, markersize=10, label=label)
    solid = [((spot.refused, spot.answered), 5.0) for spot in every] + [(mean, 11.0) for mean in means.values()]
    if best != first:
        (x, y), (to_x, to_y) = means[first], means[best]
        solid += [((x + step * (to_x - x) / 20, y + step * (to_y - y) / 20), 4.0) for step in range(1, 20)]
        arrow = {"arrowstyle": "-|>,head_width=0.4,head_length=0.8", "color": INK, "linewidth": 1.6}
        axes.annotate("", means[best], means[first], arrowprops={**arrow, "shrinkA": 12, "shrinkB": 12}, zorder=3.5)
    notes = ["big: mean over languages", "arrow: to the smallest mean error"][: 1 + (best != first)]
    notes += ["hollow: language not trained on"] if some_unseen else []
    notes += [f"codes for {first} and {best} only"] if len(labelled) < len(spots) else []
    # Below the plane, where it hides no point.
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
    _place_codes(figure, axes, texts, solid)


def _place_codes(
    figure: Figure,
    axes: Axes,
    texts: Sequence[tuple[str, tuple[float, float], str]],
    solid: Sequence[tuple[tuple[float, float], float]],
) -> None:
    """Write each code near its point where it covers the least.

    Args:
        figure: With its final size; it is drawn once, so that the layout is settled.
        axes: With its final limits.
        texts: Code, point in data coordinates and colour.
        solid: What is better not covered: points in data coordinates with a radius in typographic points.
    """
    figure.canvas.draw()
    scale = figure.dpi / 72

    def on_page(point: tuple[float, float]) -> tuple[float, float]:
        x, y = axes.transData.transform(point)
        return x / scale, y / scale

    # Boxes as centre and half sizes, all in typographic points.
    fixed = [(*on_page(point), radius, radius) for point, radius in solid]
    written: list[tuple[float, float, float, float]] = []
    for code, point, colour in texts:
        x, y = on_page(point)
        half = 3.6 * len(code) + 1
        choices = []
        for distance in (12, 18, 25, 33):
            for angle in range(0, 360, 30):
                dx, dy = distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle))
                box = (x + dx, y + dy, half, 6.0)
                # One code over another is worse than a code over a point.
                covered = sum(_meet(box, other) for other in [*fixed, *written, *written, *written])
                choices.append((covered + distance / 30, dx, dy, distance, box))
        _, dx, dy, distance, box = min(choices)
        written.append(box)
        # A hair line leads back to the point where the code stands far off.
        lead = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            code,
            point,
            (dx, dy),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=11,
            color=_darker(colour),
            zorder=6,
            annotation_clip=False,
            arrowprops=lead if distance > 12 else None,
        )


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return abs(one[0] - other[0]) < one[2] + other[2] and abs(one[1] - other[1]) < one[3] + other[3]


def _draw_lines(axes: Axes, measure: Measure, rates: dict[str, dict[str, float]]) -> None:
    """One line per language with the rate of each defence on it, the hardest language on top."""
    languages = list(dict.fromkeys(language for found in rates.values() for language in found))
    first = next(iter(rates.values()))
    languages.sort(key=lambda language: first.get(language, 0.0))
    for index, language in enumerate(languages):
        here = [found[language] for found in rates.values() if language in found]
        axes.plot([min(here), max(here)], [index, index], color="#D0D0D0", linewidth=3, zorder=1)
    for index, (name, found) in enumerate(rates.items()):
        colour, marker = _look(index)
        lines = [languages.index(language) for language in found]
        label = f"{name}: {fmean(found.values()):.0f} % on average"
        axes.plot(list(found.values()), lines, marker, color=colour, markersize=10, zorder=2, label=label)
    axes.set_yticks(range(len(languages)), [display_name(language) for language in languages])
    axes.set_xlim(left=min(-1.0, axes.get_xlim()[0]))
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.grid(axis="x", color="#EDEDED")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{AXES[measure]} (lower is better)")
    axes.legend(loc="best", fontsize=11.5, framealpha=0.92, edgecolor="#DDDDDD")


def _spots(metrics: Metrics) -> dict[str, list[Spot]]:
    """Defence -> its languages that have both rates under every seed, so that no point is half a point."""
    answered, refused = _rates(metrics, "harmful_answered"), _rates(metrics, "harmless_refused")
    trained = {row.language for row in metrics.rows if row.trained}
    spots = {
        name: [
            Spot(language, language in trained, refused[name][language], rate)
            for language, rate in found.items()
            if language in refused[name]
        ]
        for name, found in answered.items()
    }
    return {name: found for name, found in spots.items() if found}


def _single(metrics: Metrics) -> tuple[Measure, dict[str, dict[str, float]]]:
    """The measure that has rates, where only one has."""
    for measure in AXES:
        rates = {name: found for name, found in _rates(metrics, measure).items() if found}
        if rates:
            return measure, rates
    raise ValueError("no language has a rate, so there is nothing to draw")


def _rates(metrics: Metrics, measure: Measure) -> dict[str, dict[str, float]]:
    """Defence -> language -> rate in percent, a mean over seeds; languages with a rate under each."""
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


def _title(metrics: Metrics) -> str:
    row = metrics.rows[0]
    attack = "" if row.attack == "none" else f", attack: {row.attack}"
    return f"{row.model} on {row.benchmark} ({row.split}{attack})"


def _look(index: int) -> tuple[str, str]:
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def _darker(colour: str) -> str:
    """The colour for writing: bright ones are too pale for small letters on white."""
    return "#" + "".join(f"{int(int(colour[at : at + 2], 16) * 0.68):02X}" for at in (1, 3, 5))
