"""The command `babelguard corpus check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="CSV, JSONL or folders, checked as one corpus; default: what ships"),
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help="leave a check out (may be repeated, or a,b)")] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="also compare the meaning with English (slow; extra: embeddings)")
    ] = False,
    script_share: Annotated[
        float, typer.Option(min=0, max=1, help="least share of a cell's letters in its language's script")
    ] = 0.5,
    language_margin: Annotated[
        float, typer.Option(min=0, max=1, help="by how much another language must be more probable")
    ] = 0.4,
    length_mads: Annotated[
        float, typer.Option(min=1, help="median absolute deviations of the length ratio that are too many")
    ] = 5.0,
    similar: Annotated[
        float, typer.Option(min=0.5, max=1, help="share of common trigrams that makes near-duplicates")
    ] = 0.7,
    embedding_mads: Annotated[float, typer.Option(min=1, help="the same for the cosine with English")] = 3.0,
    examples: Annotated[int, typer.Option(min=1, help="findings of a kind that are shown; all are counted")] = 3,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Look for everything that is wrong with FILE, all at once. Exit code 0: nothing, 1: something, 2: unreadable."""
    from babelguard.cli import plain_errors
    from babelguard.config import words

    with plain_errors():
        from rich.console import Console

        from babelguard.corpus.checking import CheckOptions, check_corpus
        from babelguard.corpus.checking.options import known_checks
        from babelguard.screen import Screen, Silent

        options = CheckOptions(
            skip=known_checks(name for given in skip or () for name in words(given)),
            embeddings=embeddings,
            script_share=script_share,
            language_margin=language_margin,
            length_mads=length_mads,
            similar=similar,
            embedding_mads=embedding_mads,
            examples=examples,
        )
        # Machines read standard output; a person may still watch the other one.
        aside = Console(stderr=True)
        screen = Screen() if not json else Screen(aside) if aside.is_terminal else Silent()
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
            left_out = f"; left out: {', '.join(report.skipped)}" if report.skipped else ""
            verdict = f"{count:,} findings" if count != 1 else "1 finding"
            screen.say(f"{report.rows:,} rows, {verdict}{left_out}.")
    if report.failed:
        raise typer.Exit(1)
