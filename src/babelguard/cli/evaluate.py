"""The command `babelguard evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import (
    BatchSize,
    Columns,
    Device,
    Dtype,
    Harmful,
    JudgeModel,
    JudgeName,
    JudgeUrl,
    LabelColumn,
    Limit,
    Revision,
    Trust,
    about,
    quiet_libraries,
)
from babelguard.config.lists import split_list


def evaluate(
    target: Annotated[
        str, typer.Argument(help="run folder, safety prompt (folder or hub id), model, or URL of a server")
    ],
    prompts: Annotated[
        list[Path] | None,
        typer.Option(help="CSV, TSV, JSON, JSONL, Parquet, or text with one prompt per line (repeatable)"),
    ] = None,
    columns: Columns = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="label of all rows: harmful or harmless (repeatable: one per file, in the same order)"),
    ] = None,
    label_column: LabelColumn = None,
    harmful: Harmful = None,
    benchmark: Annotated[str | None, typer.Option(help="name of a benchmark, such as babelguard-corpus")] = None,
    defences: Annotated[
        list[str] | None,
        typer.Option(
            "--defence", help="also measure: none, written, another registered defence, or another run (repeatable)"
        ),
    ] = None,
    attack: Annotated[str, typer.Option(help="attack that rewrites the requests, such as spacing")] = "none",
    judge: JudgeName = None,
    judge_model: JudgeModel = None,
    judge_url: JudgeUrl = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="base model of the run, if it was moved; with a URL: name of the served model (repeatable: to compare models)",
        ),
    ] = None,
    languages: Annotated[str | None, typer.Option(help="languages, separated by commas; default: all")] = None,
    limit: Limit = None,
    reply_tokens: Annotated[int, typer.Option(min=4, help=about("reply_tokens"))] = 32,
    device: Device = None,
    dtype: Dtype = None,
    batch_size: BatchSize = None,
    revision: Revision = None,
    trust_remote_code: Trust = False,
    tokenizer: Annotated[
        str | None, typer.Option(help="with a URL: tokenizer of the served model (folder or hub id); default: estimate")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=1024, help="with a URL: parallel requests; default: 8")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="with a URL: timeout of a request in seconds; default: 120")
    ] = None,
    patience: Annotated[
        float | None, typer.Option(min=0, help="with a URL: seconds to wait for a server that is away; default: 300")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="folder for the results; the same command resumes in it")] = None,
) -> None:
    """Measure attack success and false refusal by TARGET per language, on your own prompts or a benchmark."""
    with plain_errors(evaluate):
        from babelguard.corpus.reading.options import parse_columns
        from babelguard.jobs.evaluate import evaluate as run

        quiet_libraries()
        run(
            target,
            prompts,
            columns=parse_columns(columns),
            label=label,
            label_column=label_column,
            harmful=tuple(harmful or ()),
            benchmark=benchmark,
            defences=tuple(defences or ()),
            attack=attack,
            judge=judge or "default",
            judge_model=judge_model,
            judge_url=judge_url,
            model=model,
            languages=None if languages is None else split_list(languages),
            limit=limit,
            reply_tokens=reply_tokens,
            device=device or "auto",
            dtype=dtype or "auto",
            batch_size=batch_size,
            revision=revision,
            trust_remote_code=trust_remote_code,
            tokenizer=tokenizer,
            concurrency=concurrency,
            timeout=timeout,
            patience=patience,
            output=output,
            screen=CommandScreen(),
        )
