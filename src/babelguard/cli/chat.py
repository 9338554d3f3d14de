"""The command `babelguard chat`."""

from __future__ import annotations

from typing import Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import Device, Dtype, Trust, quiet_libraries


def chat(
    run: Annotated[str, typer.Argument(help="run folder, safety prompt (folder or hub id), or URL of a server")],
    model: Annotated[
        str | None, typer.Option(help="base model of the run, if it was moved; with a URL: name of the served model")
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="your own system message, inserted after the safety prompt")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="maximum length of a reply in tokens")] = 120,
    device: Device = None,
    dtype: Dtype = None,
    trust_remote_code: Trust = False,
) -> None:
    """Chat with the defended model. /defence off|on switches the defence, /compare shows both replies."""
    with plain_errors(chat):
        from babelguard.jobs.chat import chat as run_chat

        quiet_libraries()
        run_chat(
            run,
            model=model,
            system=system,
            tokens=tokens,
            device=device or "auto",
            dtype=dtype or "auto",
            trust_remote_code=trust_remote_code,
            screen=CommandScreen(),
        )
