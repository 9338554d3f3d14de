"""The commands `babelguard corpus ...`. Each command stands in a module of its own and is only named here."""

from __future__ import annotations

import typer

from babelguard.corpus.browse_commands import export, list_languages, show
from babelguard.corpus.check_command import check
from babelguard.translation.command import translate

app = typer.Typer(
    help="Check, look at, export and translate files of parallel prompts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(check)
app.command("list")(list_languages)
app.command()(show)
app.command()(export)
app.command()(translate)


@app.callback()
def corpus() -> None:
    """Work on files of parallel prompts."""
