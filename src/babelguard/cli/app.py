"""The application: registers the commands. Heavy modules are imported when a command runs, so that --help is fast."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from babelguard.cli.analyse import analyse
from babelguard.cli.chat import chat
from babelguard.cli.corpus import corpus
from babelguard.cli.corpus_check import check
from babelguard.cli.corpus_export import export as export_corpus
from babelguard.cli.corpus_list import list_languages
from babelguard.cli.corpus_show import show
from babelguard.cli.corpus_translate import translate
from babelguard.cli.defend import defend
from babelguard.cli.evaluate import evaluate
from babelguard.cli.export import export
from babelguard.cli.judge import judge
from babelguard.cli.proxy import proxy
from babelguard.cli.verify import verify
from babelguard.parallel import launched, launched_rank

app = typer.Typer(
    name="babelguard",
    help="Harden a frozen chat model against harmful requests in many languages, and measure the effect.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(defend)
app.command()(evaluate)
app.command()(judge)
app.command()(chat)
app.command()(analyse)
app.command()(export)
app.command()(proxy)
app.command()(verify)

corpus_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
corpus_app.callback()(corpus)
corpus_app.command()(check)
corpus_app.command("list")(list_languages)
corpus_app.command()(show)
corpus_app.command("export")(export_corpus)
corpus_app.command()(translate)
app.add_typer(corpus_app, name="corpus")


def _version(show_it: bool) -> None:
    if show_it:
        from babelguard import __version__

        typer.echo(f"babelguard {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version and stop")
    ] = False,
) -> None:
    """Options of the program itself."""
    if launched() > 1 and context.invoked_subcommand != "defend":
        typer.echo(
            f"Error: Only defend can use several processes, but the launcher started {launched()}; start "
            f"{context.invoked_subcommand} without a launcher.",
            err=True,
        )
        raise typer.Exit(2)


def main() -> None:
    """Run the command line. Characters that the terminal's encoding lacks are written as question marks.

    If there are several processes, only the leading one, to which the others send their errors, writes to the terminal.
    """
    if launched_rank() > 0:
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
