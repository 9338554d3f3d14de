"""The command `babelguard judge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import Device, Dtype, Json, JudgeModel, JudgeUrl, quiet_libraries
from babelguard.errors import UserError, visible
from babelguard.screen import Screen


def judge(
    run: Annotated[Path | None, typer.Argument(help="run folder or evaluation folder")] = None,
    replies: Annotated[
        Path | None, typer.Option(help="JSONL file of replies with the fields language and reply; see docs/judging.md")
    ] = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="measure the judge on the held-out labelled replies of the package")
    ] = False,
    judges: Annotated[
        list[str] | None, typer.Option("--judge", help="name of the judge (repeatable); default: default")
    ] = None,
    judge_model: JudgeModel = None,
    judge_url: JudgeUrl = None,
    device: Device = None,
    dtype: Dtype = None,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="with RUN: also show how well the judges agree (Cohen's kappa)")
    ] = False,
    correct: Annotated[
        bool, typer.Option("--correct", help="with RUN: also show the rates corrected for the errors of the judge")
    ] = False,
    json: Json = False,
) -> None:
    """Judge the logged replies of RUN again without its model, judge a file of replies, or measure how good a judge is."""
    with plain_errors(judge):
        if (run is not None) + (replies is not None) + validate != 1:
            raise UserError("Give exactly one of `run`, `replies` and `validate`.")
        if (agreement or correct) and run is None:
            raise UserError(
                "The settings `agreement` and `correct` are for replies of a run; give `run`, or remove them."
            )
        named = list(dict.fromkeys(judges or ["default"]))
        if replies is not None and len(named) > 1:
            raise UserError("A file of replies is judged by one judge; give `judges` once with `replies`.")
        quiet_libraries()
        screen = _screen(json, plain=replies is not None)
        options: dict[str, Any] = {
            "judge_model": judge_model,
            "judge_url": judge_url,
            "device": device or "auto",
            "dtype": dtype or "auto",
            "screen": screen,
        }
        if run is not None:
            from babelguard.jobs.judge_run import judge_run

            judged = judge_run(run, named, agreement=agreement, correct=correct, **options)
            if json:
                _print(judged.as_json())
        elif replies is not None:
            from babelguard.jobs.judge_replies import judge_replies

            found = judge_replies(replies, named[0], **options)
            if json:
                _print(found.as_json())
                return
            shown = CommandScreen()
            if shown.console.is_terminal:
                shown.show(found.verdicts().to_terminal())
            else:
                for line in found.lines():
                    typer.echo("\t".join(map(visible, line)))
            if (table := found.quality_table()) is not None:
                shown.show(table.to_terminal())
        else:
            from babelguard.jobs.validate_judge import validate_judges

            measured = validate_judges(named, **options)
            if json:
                _print(measured.as_json())
                return
            for part in measured.tables():
                screen.show(part.to_terminal())


def _screen(json: bool, plain: bool) -> Screen:
    """Return the screen for progress.

    Args:
        json: Standard output is JSON only, so progress goes to standard error, if that is a terminal.
        plain: Standard output has one line per reply if it is not a terminal, so progress goes to standard error.
    """
    from rich.console import Console

    from babelguard.screen import Silent

    aside = Console(stderr=True)
    if json:
        return CommandScreen(aside) if aside.is_terminal else Silent()
    screen = CommandScreen()
    return CommandScreen(aside) if plain and not screen.console.is_terminal else screen


def _print(content: dict[str, Any]) -> None:
    from json import dumps

    typer.echo(dumps(content, ensure_ascii=True, indent=2))
