"""The command `babelguard corpus export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import Corpus
from babelguard.config.lists import split_list


def export(
    output: Annotated[Path, typer.Option(help="folder to create")],
    kind: Annotated[str, typer.Option("--format", help="csv, jsonl, or hf (a folder for datasets.load_dataset)")],
    corpus: Corpus = None,
    languages: Annotated[str | None, typer.Option(help="languages, separated by commas; default: all")] = None,
    split: Annotated[str | None, typer.Option(help="train, validation, test or hard; default: all")] = None,
) -> None:
    """Write a corpus, or a part of it, in another format."""
    with plain_errors(export):
        from babelguard.corpus.export import export_corpus
        from babelguard.corpus.load import load_corpus

        screen = CommandScreen()
        # The dataset card describes the built-in corpus only.
        written = export_corpus(
            load_corpus(corpus),
            output,
            kind,
            languages=None if languages is None else split_list(languages),
            split=split,
            built_in=corpus is None,
            screen=screen,
        )
        screen.say(f"{len(written)} files in {output}: {', '.join(str(file.relative_to(output)) for file in written)}")
