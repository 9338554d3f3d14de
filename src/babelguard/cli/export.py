"""The command `babelguard export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import BaseModelName, Device, Trust, quiet_libraries


def export(
    run: Annotated[str, typer.Argument(help="run folder, or safety prompt (folder or hub id)")],
    to: Annotated[str, typer.Option(help="exporter: checkpoint (model folder for transformers), or one you installed")],
    output: Annotated[Path, typer.Option(help="folder to create")],
    model: BaseModelName = None,
    device: Device = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="checkpoint (as the base model is stored; default), auto, float32, bfloat16, float16"),
    ] = None,
    trust_remote_code: Trust = False,
) -> None:
    """Write the defended model in a form that other software loads without babelguard."""
    with plain_errors(export):
        from babelguard.jobs.export import export as run_export

        quiet_libraries()
        run_export(
            run,
            to,
            output,
            model=model,
            device=device or "cpu",
            dtype=dtype or "checkpoint",
            trust_remote_code=trust_remote_code,
            screen=CommandScreen(),
        )
