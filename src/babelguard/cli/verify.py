"""The command `babelguard verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import BaseModelName, Device, Trust, quiet_libraries


def verify(
    export: Annotated[Path, typer.Argument(help="folder written by 'babelguard export'")],
    url: Annotated[
        str | None,
        typer.Option(
            help="OpenAI-compatible server of the export, such as http://127.0.0.1:8000/v1; default: load the export here"
        ),
    ] = None,
    model: BaseModelName = None,
    run: Annotated[
        Path | None, typer.Option(help="run folder of the safety prompt: also compare the verdicts on its test rows")
    ] = None,
    served: Annotated[str | None, typer.Option(help="name of the model at the server, if there are several")] = None,
    languages: Annotated[
        str | None, typer.Option(help="languages of the chats, separated by commas; default: all of the corpus")
    ] = None,
    device: Device = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="format in which the export is served: float32, bfloat16, float16, quantised; default: that of its weights"
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="seconds to wait for a reply of the server")] = 300.0,
    trust_remote_code: Trust = False,
) -> None:
    """Check that a served export behaves like its base model with the safety prompt. The exit code is 1 if a check fails."""
    with plain_errors(verify):
        from babelguard.jobs.verify import verify as run_verify

        quiet_libraries()
        found = run_verify(
            export,
            url=url,
            model=model,
            run=run,
            served=served,
            languages=languages,
            device=device or "cpu",
            dtype=dtype,
            timeout=timeout,
            trust_remote_code=trust_remote_code,
            screen=CommandScreen(),
        )
    if not found.passed:
        raise typer.Exit(1)
