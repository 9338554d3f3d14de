"""The command `babelguard corpus check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.config.lists import split_list


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...", help="CSV, JSONL or folders, checked as one corpus; default: the built-in corpus"
        ),
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help="checks to skip, separated by commas (repeatable)")] = None,
    embeddings: Annotated[
        bool,
        typer.Option("--embeddings", help="also compare the meaning with English (slow; needs the extra 'embeddings')"),
    ] = False,
    script_share: Annotated[
        float, typer.Option(min=0, max=1, help="minimum share of letters in the script of the language")
    ] = 0.5,
    language_margin: Annotated[
        float, typer.Option(min=0, max=1, help="report another language if it is more probable by this margin")
    ] = 0.4,
    length_mads: Annotated[
        float, typer.Option(min=1, help="maximum deviation of the length ratio, in median absolute deviations")
    ] = 5.0,
    similar: Annotated[float, typer.Option(min=0.5, max=1, help="minimum trigram similarity of near-duplicates")] = 0.7,
    embedding_mads: Annotated[
        float,
        typer.Option(
            min=1, help="maximum deviation of the cosine similarity to English, in median absolute deviations"
        ),
    ] = 3.0,
    examples: Annotated[
        int, typer.Option(min=1, help="examples to show per kind of finding; all findings are counted")
    ] = 3,
    json: Annotated[bool, typer.Option("--json", help="print only one JSON object")] = False,
) -> None:
    """Find all problems in FILE. Exit code 0: no problems, 1: problems found, 2: FILE cannot be read."""
    with plain_errors(check):
        from rich.console import Console

        from babelguard.corpus.checking import CheckOptions, check_corpus
        from babelguard.corpus.checking.options import known_checks
        from babelguard.screen import Silent

        options = CheckOptions(
            skip=known_checks(name for given in skip or () for name in split_list(given)),
            embeddings=embeddings,
            script_share=script_share,
            language_margin=language_margin,
            length_mads=length_mads,
            similar=similar,
            embedding_mads=embedding_mads,
            examples=examples,
        )
        # Standard output is JSON only, so progress goes to standard error.
        aside = Console(stderr=True)
        screen = CommandScreen() if not json else CommandScreen(aside) if aside.is_terminal else Silent()
        report = check_corpus(files or (), options, screen)
        if json:
            from json import dumps

            typer.echo(dumps(report.as_json(), ensure_ascii=True, indent=2))
        else:
            for table in report.tables():
                screen.show(table)
            for note in report.notes:
                screen.say(note)
            count = sum(one.count for one in report.problems)
            left_out = f"; skipped: {', '.join(report.skipped)}" if report.skipped else ""
            verdict = f"{count:,} findings" if count != 1 else "1 finding"
            screen.say(f"{report.rows:,} rows, {verdict}{left_out}.")
    if report.failed:
        raise typer.Exit(1)
