"""GitHub Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def escape(text: str) -> str:
    """Escape characters that Markdown would interpret, and put the text on one line."""
    for mark in ("\\", "|", "*", "_", "<"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split("\n"))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table. Cells are escaped; columns are left-aligned."""
    lines = [[escape(cell) for cell in row] for row in (header, *rows)]
    lines.insert(1, [":--"] * len(header))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
