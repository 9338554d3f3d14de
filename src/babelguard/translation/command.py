"""The command `babelguard corpus translate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from babelguard.translation.engine import Engine


def translate(
    file: Annotated[Path, typer.Argument(help="CSV or JSONL with id, label and en")],
    to: Annotated[str, typer.Option(help="languages to translate into, separated by commas, e.g. ko,da")],
    engine: Annotated[
        str, typer.Option(help="openai (any compatible endpoint) or transformers (MADLAD-400, NLLB-200)")
    ],
    engine_model: Annotated[str, typer.Option(help="the endpoint's model; for transformers a folder or a hub id")],
    base_url: Annotated[
        str | None, typer.Option(help="openai: the endpoint up to /v1; default: that of OpenAI")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="openai: requests at a time")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, max=200, help="texts a request")] = 8,
    timeout: Annotated[float, typer.Option(min=0.1, help="openai: seconds to wait for a reply")] = 120.0,
    tries: Annotated[int, typer.Option(min=1, max=20, help="openai: how often a request is sent at most")] = 6,
    engine_licence: Annotated[
        str | None, typer.Option(help="licence of the translations; default: that of the model, as far as known")
    ] = None,
    min_chrf: Annotated[float, typer.Option(min=0, max=100, help="flag back-translations below it")] = 35.0,
    device: Annotated[str, typer.Option(help="transformers: auto, cpu, cuda, cuda:1, mps")] = "auto",
    dtype: Annotated[str, typer.Option(help="transformers: auto, float32, bfloat16, float16")] = "auto",
    revision: Annotated[str | None, typer.Option(help="transformers: revision of a hub model")] = None,
    output: Annotated[
        Path | None, typer.Option(help="folder; the same command resumes in it; default: <file>-multilingual")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and stop")] = False,
) -> None:
    """Translate FILE from English, check every text by translating it back, and leave what a person should look at."""
    from babelguard.cli import plain_errors, quiet_libraries
    from babelguard.config import words

    with plain_errors():
        from babelguard.errors import UserError
        from babelguard.screen import Screen
        from babelguard.translation.job import Job, read_source

        if engine not in ("openai", "transformers"):
            raise UserError(f"There is no engine '{engine}'; choose openai or transformers.")
        codes = words(to)
        read_source(file, codes)  # before a model is loaded

        def build() -> Engine:
            if engine == "openai":
                from babelguard.translation.openai import DEFAULT_URL, OpenAIEngine

                return OpenAIEngine(
                    engine_model,
                    base_url=base_url or DEFAULT_URL,
                    licence=engine_licence,
                    parallel=parallel,
                    batch=batch_size,
                    timeout=timeout,
                    tries=tries,
                )
            quiet_libraries()
            from babelguard.translation.transformers_engine import TransformersEngine

            return TransformersEngine(
                engine_model, licence=engine_licence, batch=batch_size, device=device, dtype=dtype, revision=revision
            )

        folder = output or Path(f"{file.stem}-multilingual")
        job = Job(file, codes, build(), folder, min_chrf=min_chrf, screen=Screen())
        if dry_run:
            job.plan()
            return
        job.run()
