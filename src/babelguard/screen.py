"""What a person sees while it works. The Python API is silent unless it is given a screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Tick = Callable[[int, int], None]
Note = Callable[[str], None]


class Screen:
    """Plain sentences, tables and progress bars with elapsed and remaining time on a terminal.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()

    def title(self, text: str) -> None:
        """Begin a stage."""
        self.console.print(f"\n[bold]{text}[/bold]")

    def say(self, text: str) -> None:
        """Say one thing."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, thing: Any) -> None:
        """Show a table or another thing that rich can draw."""
        self.console.print(thing)

    @contextmanager
    def progress(self, what: str) -> Iterator[tuple[Tick, Note]]:
        """Show progress in a `with` block: call tick(done, total), and note(text) for a word beside the bar."""
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console, transient=False) as bar:
            task = bar.add_task(what, total=None, note="")

            def tick(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            def note(text: str) -> None:
                bar.update(task, note=text)

            yield tick, note


class Silent(Screen):
    """Says nothing."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
