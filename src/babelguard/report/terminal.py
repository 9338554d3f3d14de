"""Write the table of outcomes to the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from babelguard.report.cells import SEPARATOR, Cells
from babelguard.report.table import OutcomeTable


def to_terminal(table: OutcomeTable) -> Group:
    """Return the table for `rich.console.Console.print`.

    The short table comes last, so that it is visible without scrolling.
    """
    long = _empty(table.title, table.columns)
    for section in table.sections:
        for index, row in enumerate(section):
            cells = [Text(cell.replace(SEPARATOR, "\n") if table.stacked else cell) for cell in row]
            long.add_row(*cells, end_section=index == len(section) - 1)
    shown: list[Table | Text] = [long, *(Text(note) for note in table.notes)]
    if table.errors:
        header, *rows = table.errors
        short = _empty("", header)
        for row in rows:
            short.add_row(*map(Text, row))
        shown.append(short)
    return Group(*shown)


def _empty(title: str, columns: Cells) -> Table:
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
    )
    for column in columns:
        # Text, so that rich does not interpret square brackets as markup.
        table.add_column(Text(column), overflow="fold")
    return table
