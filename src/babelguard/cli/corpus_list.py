"""The command `babelguard corpus list`."""

from __future__ import annotations

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import Corpus, Json


def list_languages(corpus: Corpus = None, json: Json = False) -> None:
    """List the languages of a corpus with script, family, resource tier, and rows per split."""
    with plain_errors(list_languages):
        from babelguard.corpus.browse import describe_languages, language_table
        from babelguard.corpus.load import load_corpus

        described = describe_languages(load_corpus(corpus))
        if json:
            from json import dumps

            typer.echo(dumps(described, ensure_ascii=True, indent=2))
        else:
            CommandScreen().show(language_table(described))
