"""Terminal output while a job runs. Python functions print nothing unless they are given a `Screen`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# Called with (done, total).
Tick = Callable[[int, int], None]
# Called with a text to show beside the progress bar.
Note = Callable[[str], None]


class Screen:
    """Shows sentences, tables, and progress bars with elapsed and remaining time.

    Args:
        console: The console to print to.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()

    def title(self, text: str) -> None:
        """Show the heading of a stage."""
        self.console.print(f"\n[bold]{text}[/bold]")

    def say(self, text: str) -> None:
        """Show a line of text."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def reply(self, text: str) -> None:
        """Show text written by a model or a user, exactly as it is."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def stream(self, pieces: Iterable[str]) -> str:
        """Show text written by a model while it arrives, exactly as it is, and return all of it."""
        shown = []
        for piece in pieces:
            self.console.print(piece, end="", highlight=False, markup=False, soft_wrap=True)
            shown.append(piece)
        self.console.print()
        return "".join(shown)

    def show(self, thing: Any) -> None:
        """Show a table or anything else that rich can print."""
        self.console.print(thing)

    def next_commands(self, *commands: tuple[str, ...]) -> None:
        """Suggest commands to run next, each as its name and arguments. Only the command line shows them."""

    @contextmanager
    def progress(self, what: str) -> Iterator[tuple[Tick, Note]]:
        """Show a progress bar within a `with` block. Yields tick(done, total), and note(text) for text beside the bar."""
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
    """Shows nothing."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
