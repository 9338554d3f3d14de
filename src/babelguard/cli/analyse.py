"""The command `babelguard analyse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import (
    BaseModelName,
    BatchSize,
    Corpus,
    Device,
    Dtype,
    JudgeName,
    Limit,
    Revision,
    Trust,
    quiet_libraries,
)
from babelguard.config.lists import split_list


def analyse(
    target: Annotated[str, typer.Argument(help="model, run folder, or safety prompt (folder or hub id)")],
    corpus: Corpus = None,
    split: Annotated[
        str, typer.Option(help="split to analyse: validation, train, or test (not for choosing languages)")
    ] = "validation",
    languages: Annotated[str | None, typer.Option(help="languages, separated by commas; default: all")] = None,
    limit: Limit = None,
    anchor_rows: Annotated[
        int, typer.Option(min=4, help="training rows per label and language that the safety space is fitted on")
    ] = 8,
    judge: JudgeName = None,
    model: BaseModelName = None,
    device: Device = None,
    dtype: Dtype = None,
    batch_size: BatchSize = None,
    revision: Revision = None,
    trust_remote_code: Trust = False,
    output: Annotated[Path | None, typer.Option(help="folder for the results; the same command resumes in it")] = None,
) -> None:
    """Compare languages in the hidden states of TARGET, and recommend training languages."""
    with plain_errors(analyse):
        from babelguard.jobs.analyse import analyse as run

        quiet_libraries()
        run(
            target,
            corpus=corpus,
            split=split,
            languages=None if languages is None else split_list(languages),
            limit=limit,
            anchor_rows=anchor_rows,
            judge=judge or "default",
            model=model,
            device=device or "auto",
            dtype=dtype or "auto",
            batch_size=batch_size,
            revision=revision,
            trust_remote_code=trust_remote_code,
            output=output,
            screen=CommandScreen(),
        )
