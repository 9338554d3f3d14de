"""The command `babelguard proxy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors


def proxy(
    export: Annotated[Path, typer.Argument(help="folder of the export that the engine serves")],
    upstream: Annotated[str, typer.Option(help="URL of the engine, such as http://127.0.0.1:8000")],
    host: Annotated[str, typer.Option(help="address to listen at")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen at")] = 8080,
    served_name: Annotated[
        str | None,
        typer.Option(help="name of the model for clients (default: as in the export, or the name of its folder)"),
    ] = None,
    upstream_model: Annotated[
        str | None, typer.Option(help="name of the model at the engine (default: as in the export, or its only model)")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="seconds to wait for data from the engine")] = 600.0,
    max_body: Annotated[int, typer.Option(min=1024, help="largest request in bytes")] = 4 * 2**20,
    suppress: Annotated[
        bool, typer.Option(help="tell the engine never to generate placeholder tokens (logit_bias)")
    ] = True,
    refuse: Annotated[
        list[str] | None, typer.Option(help="refuse another field of requests, such as logit_bias (repeatable)")
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="serve metrics for Prometheus at /metrics")] = False,
) -> None:
    """Put a filter in front of an engine that serves a defended model with the OpenAI protocol."""
    with plain_errors(proxy):
        from babelguard.proxy.serve import serve
        from babelguard.proxy.settings import CLIENT_KEY, UPSTREAM_KEY, Settings, key_from, upstream_url

        settings = Settings(
            upstream=upstream_url(upstream),
            timeout=timeout,
            max_body=max_body,
            metrics=metrics,
            client_key=key_from(CLIENT_KEY),
            upstream_key=key_from(UPSTREAM_KEY),
        )
        serve(
            export,
            settings,
            host=host,
            port=port,
            served_name=served_name,
            upstream_model=upstream_model,
            suppress_placeholders=suppress,
            refuse=refuse or (),
            screen=CommandScreen(),
        )
