"""Colours, markers and matplotlib settings shared by all plots."""

from __future__ import annotations

from typing import Any

# The palette of Okabe and Ito without yellow, which is too pale on white. It suits readers with colour blindness.
# Each colour has its own marker, for black-and-white prints. Both repeat if there are more defences.
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
    # Fixed, so that the same numbers give the same SVG file.
    "svg.hashsalt": "babelguard",
}


def colour_and_marker(index: int) -> tuple[str, str]:
    """Return the colour and the marker of the defence with this index."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def darker(colour: str) -> str:
    """Return a darker shade of a colour, readable as small text on white."""
    return "#" + "".join(f"{int(int(colour[at : at + 2], 16) * 0.68):02X}" for at in (1, 3, 5))
