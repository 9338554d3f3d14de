"""Write the table of outcomes as GitHub Markdown."""

from __future__ import annotations

from babelguard.markdown import escape
from babelguard.markdown import table as markdown_table
from babelguard.report.table import OutcomeTable


def to_markdown(table: OutcomeTable) -> str:
    """Return the title, the short table, the long table, and the notes as a list."""
    short = markdown_table(table.errors[0], table.errors[1:]) if table.errors else ""
    long = markdown_table([column.replace("\n", ": ") for column in table.columns], table.rows)
    notes = "\n".join(f"- {escape(note)}" for note in table.notes)
    return "\n\n".join(part for part in (f"**{escape(table.title)}**", short, long, notes) if part) + "\n"
