"""The command `babelguard corpus show`."""

from __future__ import annotations

from typing import Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import Corpus


def show(
    language: Annotated[str, typer.Argument(help="language code")],
    corpus: Corpus = None,
    split: Annotated[str | None, typer.Option(help="train, validation, test or hard; default: all")] = None,
    label: Annotated[str | None, typer.Option(help="harmful or harmless; default: both")] = None,
    limit: Annotated[int, typer.Option(min=1, help="rows to show")] = 20,
) -> None:
    """Show rows in English and LANGUAGE side by side."""
    with plain_errors(show):
        from babelguard.corpus.browse import row_table
        from babelguard.corpus.load import load_corpus

        table, left = row_table(load_corpus(corpus), language, split=split, label=label, limit=limit)
        screen = CommandScreen()
        screen.show(table)
        if left:
            screen.say(f"{left:,} more rows; --limit shows more.")
