"""The result of a verification as a table for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from babelguard.verification.result import Verification

STYLES = {"passed": "green", "failed": "bold red", "not checked": "dim"}


def verification_table(found: Verification) -> Table:
    """Return a table with one line per check."""
    title = f"{found.served_by}, {found.chats} chats in {len(found.languages)} languages, {found.tokens} tokens"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("check", "result", "found", "allowed"):
        table.add_column(name, overflow="fold")
    for check in found.checks:
        state = Text(check.state, style=STYLES[check.state])
        table.add_row(Text(check.name), state, Text(check.found), Text(check.tolerance))
    return table
