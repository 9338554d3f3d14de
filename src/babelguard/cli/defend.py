"""The command `babelguard defend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import (
    BatchSize,
    Columns,
    Corpus,
    Device,
    DryRun,
    Dtype,
    Harmful,
    JudgeModel,
    JudgeName,
    JudgeUrl,
    LabelColumn,
    Limit,
    Model,
    Revision,
    Sharding,
    Trust,
    about,
    quiet_libraries,
)
from babelguard.config import load_settings


def defend(
    model: Model,
    preset: Annotated[str | None, typer.Option(help=about("preset"))] = None,
    languages: Annotated[str | None, typer.Option(help=about("languages"))] = None,
    test_languages: Annotated[str | None, typer.Option(help=about("test_languages"))] = None,
    corpus: Corpus = None,
    columns: Columns = None,
    label_column: LabelColumn = None,
    harmful: Harmful = None,
    prompt: Annotated[str | None, typer.Option(help=about("prompt"))] = None,
    start: Annotated[str | None, typer.Option(help=about("start"))] = None,
    prompt_length: Annotated[int | None, typer.Option(min=1, help=about("prompt_length"))] = None,
    steps: Annotated[int | None, typer.Option(min=0, help=about("steps"))] = None,
    limit: Limit = None,
    judge: JudgeName = None,
    judge_model: JudgeModel = None,
    judge_url: JudgeUrl = None,
    seed: Annotated[int | None, typer.Option(min=0, help=about("seed"))] = None,
    device: Device = None,
    dtype: Dtype = None,
    sharding: Sharding = None,
    batch_size: BatchSize = None,
    revision: Revision = None,
    trust_remote_code: Trust = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings (docs/settings.md)")] = None,
    output: Annotated[Path | None, typer.Option(help="run folder; the same command resumes the run in it")] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(help="earlier run to copy replies from, where they would be the same (repeatable)"),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Train a safety prompt for MODEL, and measure the model without and with it."""
    options: dict[str, Any] = {
        "model": model,
        "preset": preset,
        "languages": languages,
        "test_languages": test_languages,
        "corpus": corpus,
        "columns": columns or None,
        "label_column": label_column,
        "harmful": harmful or None,
        "prompt": prompt,
        "start": start,
        "prompt_length": prompt_length,
        "steps": steps,
        "limit": limit,
        "judge": judge,
        "judge_model": judge_model,
        "judge_url": judge_url,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "sharding": sharding,
        "batch_size": batch_size,
        "revision": revision,
        "trust_remote_code": trust_remote_code or None,
    }
    with plain_errors(defend):
        settings = load_settings(options, config)
        from babelguard.jobs.defend import Defend
        from babelguard.jobs.load_model import with_all_processes

        quiet_libraries()

        def job() -> Any:
            prepared = Defend(settings, output, CommandScreen(), reuse or ())
            return prepared.show_plan() if dry_run else prepared.run()

        with_all_processes(settings, job)
