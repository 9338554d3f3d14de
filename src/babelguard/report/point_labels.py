"""Place text labels next to the points of a plot without covering other points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from babelguard.report.style import darker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEAR, *FURTHER = 12, 18, 25, 33


class PointLabel(NamedTuple):
    """A text, the point it belongs to in data coordinates, and the colour of the point."""

    text: str
    point: tuple[float, float]
    colour: str


class Obstacle(NamedTuple):
    """A place that labels should not cover: a point in data coordinates, and a radius in typographic points."""

    point: tuple[float, float]
    radius: float


class _Box(NamedTuple):
    """A rectangle in typographic points: its centre, half its width and half its height."""

    x: float
    y: float
    half_width: float
    half_height: float

    def overlaps(self, other: _Box) -> bool:
        return (
            abs(self.x - other.x) < self.half_width + other.half_width
            and abs(self.y - other.y) < self.half_height + other.half_height
        )


def place_labels(figure: Figure, axes: Axes, labels: Sequence[PointLabel], obstacles: Sequence[Obstacle]) -> None:
    """Write each label near its point, where it covers as little as possible.

    Args:
        figure: The figure at its final size. It is drawn once to fix the layout.
        axes: The axes with their final limits.
        labels: The labels.
        obstacles: Places that should not be covered.
    """
    figure.canvas.draw()
    scale = figure.dpi / 72

    def on_page(point: tuple[float, float]) -> tuple[float, float]:
        x, y = axes.transData.transform(point)
        return x / scale, y / scale

    fixed = [_Box(*on_page(point), radius, radius) for point, radius in obstacles]
    placed: list[_Box] = []
    for text, point, colour in labels:
        x, y = on_page(point)
        half_width = 3.6 * len(text) + 1
        choices = []
        for distance in (NEAR, *FURTHER):
            for angle in range(0, 360, 30):
                dx, dy = distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle))
                box = _Box(x + dx, y + dy, half_width, 6.0)
                # Covering another label counts three times as much as covering a point.
                covered = sum(map(box.overlaps, [*fixed, *placed, *placed, *placed]))
                choices.append((covered + distance / 30, dx, dy, distance, box))
        _, dx, dy, distance, box = min(choices)
        placed.append(box)
        # A thin line connects the label to its point if it is further away.
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            text,
            point,
            (dx, dy),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=11,
            color=darker(colour),
            zorder=6,
            annotation_clip=False,
            arrowprops=line if distance > NEAR else None,
        )
