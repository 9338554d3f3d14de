"""The command `babelguard export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import BaseModelName, Trust, quiet_libraries
from babelguard.errors import UserError


def export(
    run: Annotated[str, typer.Argument(help="run folder, or safety prompt (folder or hub id)")],
    to: Annotated[
        str,
        typer.Option(
            help="exporter: checkpoint (complete model), lora (adapter), gguf (for llama.cpp and Ollama), prompt-embeds (for "
            "vLLM), or another that is installed"
        ),
    ],
    output: Annotated[Path, typer.Option(help="folder to create")],
    model: BaseModelName = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="checkpoint (as the base model is stored; default), float32, bfloat16, float16"),
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--option", help="option of this exporter, as NAME=VALUE (repeatable)")
    ] = None,
    push_to_hub: Annotated[
        str | None, typer.Option(help="upload the export to this repository on the hub (USER/NAME), private")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="let everybody see the repository of --push-to-hub")] = False,
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
            dtype=dtype or "checkpoint",
            options=pairs(options),
            push_to_hub=push_to_hub,
            public=public,
            trust_remote_code=trust_remote_code,
            screen=CommandScreen(),
        )


def pairs(given: list[str] | None) -> dict[str, str]:
    """Split options of the form NAME=VALUE.

    Raises:
        UserError: If one has another form.
    """
    found = [one.partition("=") for one in given or ()]
    for name, sign, _ in found:
        if not name or not sign:
            raise UserError(f"The `options` {name!r} has no value; write it as NAME=VALUE.")
    return {name: value for name, _, value in found}
