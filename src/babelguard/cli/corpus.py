"""The command group `babelguard corpus`."""

from __future__ import annotations


def corpus() -> None:
    """Check, list, show, export and translate files of parallel prompts."""
