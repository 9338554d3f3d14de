"""The commands `babelguard corpus list`, `show` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[Path | None, typer.Option(help="folder or file of parallel prompts; default: the corpus that ships")]
Json = Annotated[bool, typer.Option("--json", help="print JSON and nothing else")]
Split = Annotated[str | None, typer.Option(help="train, validation or test; default: all")]


def list_languages(corpus: Source = None, json: Json = False) -> None:
    """List the languages of a corpus: script, family, resources, rows of each split."""
    from babelguard.cli import plain_errors

    with plain_errors():
        from babelguard.corpus.browse import describe_languages, language_table
        from babelguard.corpus.load import load_corpus
        from babelguard.screen import Screen

        described = describe_languages(load_corpus(corpus))
        if json:
            from json import dumps

            typer.echo(dumps(described, ensure_ascii=True, indent=2))
        else:
            Screen().show(language_table(described))


def show(
    language: Annotated[str, typer.Argument(help="code of the language")],
    corpus: Source = None,
    split: Split = None,
    label: Annotated[str | None, typer.Option(help="harmful or harmless; default: both")] = None,
    limit: Annotated[int, typer.Option(min=1, help="rows to show")] = 20,
) -> None:
    """Show rows in English and in LANGUAGE, side by side."""
    from babelguard.cli import plain_errors

    with plain_errors():
        from babelguard.corpus.browse import row_table
        from babelguard.corpus.load import load_corpus
        from babelguard.screen import Screen

        table, left = row_table(load_corpus(corpus), language, split=split, label=label, limit=limit)
        screen = Screen()
        screen.show(table)
        if left:
            screen.say(f"{left:,} more rows; --limit shows more.")


def export(
    output: Annotated[Path, typer.Option(help="folder that is made")],
    kind: Annotated[str, typer.Option("--format", help="csv, jsonl, or hf (a folder for datasets.load_dataset)")],
    corpus: Source = None,
    languages: Annotated[str | None, typer.Option(help="languages, separated by commas; default: all")] = None,
    split: Split = None,
) -> None:
    """Write a corpus, or a part of it, into a folder in another format."""
    from babelguard.cli import plain_errors
    from babelguard.config import words

    with plain_errors():
        from babelguard.corpus.export import export_corpus
        from babelguard.corpus.load import load_corpus
        from babelguard.screen import Screen

        screen = Screen()
        # Only the corpus that ships has the card that describes it.
        written = export_corpus(
            load_corpus(corpus),
            output,
            kind,
            languages=words(languages),
            split=split,
            shipped=corpus is None,
            screen=screen,
        )
        screen.say(f"{len(written)} files in {output}: {', '.join(str(file.relative_to(output)) for file in written)}")
