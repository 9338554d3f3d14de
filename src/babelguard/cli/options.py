"""Options shared by several commands. Help texts of settings come from the descriptions of the settings."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated, cast

import typer
from pydantic import BaseModel

from babelguard.config.load import OPTIONS
from babelguard.config.settings import Settings


def about(option: str) -> str:
    """Return the description of the setting behind an option."""
    *sections, name = OPTIONS.get(option, option).split(".")
    model: type[BaseModel] = Settings
    for section in sections:
        model = cast(type[BaseModel], model.model_fields[section].annotation)
    return model.model_fields[name].description or ""


Model = Annotated[str, typer.Argument(help=about("model"))]
Corpus = Annotated[Path | None, typer.Option(help=about("corpus"))]
Limit = Annotated[int | None, typer.Option(min=1, help=about("limit"))]
JudgeName = Annotated[str | None, typer.Option("--judge", help=about("judge"))]
JudgeModel = Annotated[str | None, typer.Option(help=about("judge_model"))]
JudgeUrl = Annotated[str | None, typer.Option(help=about("judge_url"))]
Device = Annotated[str | None, typer.Option(help=about("device"))]
Dtype = Annotated[str | None, typer.Option(help=about("dtype"))]
Sharding = Annotated[str | None, typer.Option(help=about("sharding"))]
Revision = Annotated[str | None, typer.Option(help=about("revision"))]
BatchSize = Annotated[int | None, typer.Option(min=1, help=about("batch_size"))]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help=about("trust_remote_code"))]
BaseModelName = Annotated[
    str | None,
    typer.Option("--model", help="base model of the safety prompt, if it is no longer at its original location"),
]
Columns = Annotated[list[str] | None, typer.Option("--column", help=f"{about('columns')} (repeatable)")]
LabelColumn = Annotated[str | None, typer.Option(help=about("label_column"))]
Harmful = Annotated[list[str] | None, typer.Option(help=f"{about('harmful')} (repeatable)")]
Json = Annotated[bool, typer.Option("--json", help="print JSON only")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="show the plan and stop")]


def quiet_libraries() -> None:
    """Turn off progress bars and notices of the libraries."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    # Without a network, the hub client logs every retry.
    for name in ("transformers", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
