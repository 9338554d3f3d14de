"""The command `babelguard corpus translate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from babelguard.cli.messages import CommandScreen, plain_errors
from babelguard.cli.options import DryRun, quiet_libraries
from babelguard.config.lists import split_list

if TYPE_CHECKING:
    from babelguard.corpus.translation.base import Engine


def translate(
    file: Annotated[Path, typer.Argument(help="CSV or JSONL with id, label and en")],
    to: Annotated[str, typer.Option(help="languages to translate into, separated by commas, e.g. ko,da")],
    engine: Annotated[
        str, typer.Option(help="openai (any compatible endpoint) or transformers (MADLAD-400, NLLB-200)")
    ],
    engine_model: Annotated[str, typer.Option(help="model name of the endpoint; for transformers a folder or hub id")],
    base_url: Annotated[str | None, typer.Option(help="openai: URL of the endpoint up to /v1; default: OpenAI")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="openai: parallel requests")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, max=200, help="texts per request")] = 8,
    timeout: Annotated[float, typer.Option(min=0.1, help="openai: timeout of a request in seconds")] = 120.0,
    tries: Annotated[int, typer.Option(min=1, max=20, help="openai: maximum number of attempts per request")] = 6,
    engine_licence: Annotated[
        str | None, typer.Option(help="licence of the translations; default: the licence of the model, if known")
    ] = None,
    min_chrf: Annotated[
        float, typer.Option(min=0, max=100, help="flag texts with a back-translation whose chrF is lower")
    ] = 35.0,
    device: Annotated[str, typer.Option(help="transformers: auto, cpu, cuda, cuda:1, mps")] = "auto",
    dtype: Annotated[str, typer.Option(help="transformers: auto, float32, bfloat16, float16")] = "auto",
    revision: Annotated[str | None, typer.Option(help="transformers: revision of a hub model")] = None,
    output: Annotated[
        Path | None, typer.Option(help="output folder; the same command resumes in it; default: <file>-multilingual")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Translate FILE from English, check the texts by back-translation, and write a file for human review."""
    with plain_errors(translate):
        from babelguard.corpus.translation.job import TranslationJob, read_source
        from babelguard.errors import UserError

        if engine not in ("openai", "transformers"):
            raise UserError(f"There is no engine '{engine}'; choose openai or transformers.")
        codes = split_list(to)
        read_source(file, codes)  # before a model is loaded

        def build() -> Engine:
            if engine == "openai":
                from babelguard.corpus.translation.openai_engine import DEFAULT_URL, OpenAIEngine

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
            from babelguard.corpus.translation.transformers_engine import TransformersEngine

            return TransformersEngine(
                engine_model, licence=engine_licence, batch=batch_size, device=device, dtype=dtype, revision=revision
            )

        folder = output or Path(f"{file.stem}-multilingual")
        job = TranslationJob(file, codes, build(), folder, min_chrf=min_chrf, screen=CommandScreen())
        if dry_run:
            job.plan()
            return
        job.run()
