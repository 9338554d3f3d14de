"""The commands `babelguard corpus ...`."""

from __future__ import annotations

import typer

from babelguard.translation.command import translate

app = typer.Typer(help="Translate files of prompts.", no_args_is_help=True, rich_markup_mode=None)
app.command()(translate)


@app.callback()
def corpus() -> None:
    """Work on files of prompts."""
