"""The command line. Nothing heavy is imported before a command runs, so that --help answers at once."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from babelguard.config import Settings, load_settings, words
from babelguard.corpus.commands import app as corpus_app
from babelguard.errors import UserError, sentence_of, visible

app = typer.Typer(
    name="babelguard",
    help="Harden a frozen chat model against harmful requests in any language, and measure it honestly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(corpus_app, name="corpus")


def about(setting: str) -> str:
    """What the configuration says of a setting: its words stand in one place."""
    return Settings.model_fields[setting].description or ""


Model = Annotated[str, typer.Argument(help=about("model"))]
Corpus = Annotated[Path | None, typer.Option(help=about("corpus"))]
Limit = Annotated[int | None, typer.Option(min=1, help=about("limit"))]
Device = Annotated[str | None, typer.Option(help=about("device"))]
Dtype = Annotated[str | None, typer.Option(help=about("dtype"))]
Revision = Annotated[str | None, typer.Option(help=about("revision"))]
BatchSize = Annotated[int | None, typer.Option(min=1, help=about("batch_size"))]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help=about("trust_remote_code"))]
Base = Annotated[str | None, typer.Option(help="the base model, if TARGET is a prompt and its model lies elsewhere")]


@contextmanager
def plain_errors() -> Iterator[None]:
    """One sentence and exit code 2 for what a user can mend; Ctrl+C says how to resume."""
    try:
        yield
    except UserError as error:
        # What stands in a user's file or name may be anything, a terminal's commands included.
        typer.echo(f"Error: {visible(str(error))}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("\nStopped. Nothing that was finished is lost: give the same command again to resume.", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (OSError, RuntimeError, MemoryError) as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        typer.echo(f"Error: {visible(sentence)}", err=True)
        raise typer.Exit(2) from None


def quiet_libraries() -> None:
    """Keep the libraries' own progress bars and notices off the screen."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    # Without a network the hub client tells of every retry.
    for name in ("transformers", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)


@app.command()
def defend(
    model: Model,
    preset: Annotated[str | None, typer.Option(help=about("preset"))] = None,
    languages: Annotated[str | None, typer.Option(help=about("languages"))] = None,
    test_languages: Annotated[str | None, typer.Option(help=about("test_languages"))] = None,
    corpus: Corpus = None,
    prompt: Annotated[str | None, typer.Option(help=about("prompt"))] = None,
    start: Annotated[str | None, typer.Option(help=about("start"))] = None,
    prompt_length: Annotated[int | None, typer.Option(min=1, help=about("prompt_length"))] = None,
    steps: Annotated[int | None, typer.Option(min=0, help=about("steps"))] = None,
    limit: Limit = None,
    seed: Annotated[int | None, typer.Option(min=0, help=about("seed"))] = None,
    device: Device = None,
    dtype: Dtype = None,
    batch_size: BatchSize = None,
    revision: Revision = None,
    trust_remote_code: Trust = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with any of the settings")] = None,
    output: Annotated[Path | None, typer.Option(help="run folder; the same command resumes in it")] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(help="run whose replies are taken over where they would be the same (may be repeated)"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and stop")] = False,
) -> None:
    """Train a soft safety prompt for MODEL and show what it did, before and after."""
    given: dict[str, Any] = {
        "model": model,
        "preset": preset,
        "languages": languages,
        "test_languages": test_languages,
        "corpus": corpus,
        "prompt": prompt,
        "start": start,
        "prompt_length": prompt_length,
        "steps": steps,
        "limit": limit,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "batch_size": batch_size,
        "revision": revision,
        "trust_remote_code": trust_remote_code or None,
    }
    with plain_errors():
        settings = load_settings(given, config)
        from babelguard.defend import Job
        from babelguard.screen import Screen

        quiet_libraries()
        job = Job(settings, output, Screen(), reuse or ())
        if dry_run:
            job.plan()
            return
        job.run()


@app.command()
def evaluate(
    target: Annotated[str, typer.Argument(help="a run folder, a safety prompt's folder, or a model")],
    prompts: Annotated[
        Path, typer.Option(help="CSV or JSONL with id, label (harmful or harmless) and a column per language code")
    ],
    defence: Annotated[
        list[str] | None, typer.Option(help="also measure: none, written, or another run (may be repeated)")
    ] = None,
    model: Base = None,
    languages: Annotated[str | None, typer.Option(help="columns to use; default: all")] = None,
    limit: Limit = None,
    reply_tokens: Annotated[int, typer.Option(min=4, help="tokens of a reply")] = 24,
    device: Device = None,
    dtype: Dtype = None,
    batch_size: BatchSize = None,
    revision: Revision = None,
    trust_remote_code: Trust = False,
    output: Annotated[
        Path | None, typer.Option(help="folder for the log and the table; the same command resumes in it")
    ] = None,
) -> None:
    """Measure TARGET on your own prompts: harmful answered and harmless refused, per language."""
    with plain_errors():
        from babelguard.evaluate_file import evaluate as run
        from babelguard.screen import Screen

        quiet_libraries()
        run(
            target,
            prompts,
            defences=tuple(defence or ()),
            model=model,
            languages=words(languages),
            limit=limit,
            reply_tokens=reply_tokens,
            device=device or "auto",
            dtype=dtype or "auto",
            batch_size=batch_size,
            revision=revision,
            trust_remote_code=trust_remote_code,
            output=output,
            screen=Screen(),
        )


@app.command()
def chat(
    run: Annotated[str, typer.Argument(help="a run folder or a safety prompt's folder")],
    model: Annotated[
        str | None, typer.Option(help="the base model, if it lies elsewhere than where the prompt was trained")
    ] = None,
    system: Annotated[str | None, typer.Option(help="your own system message, behind the safety prompt")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="longest reply in tokens")] = 120,
    device: Device = None,
    dtype: Dtype = None,
    trust_remote_code: Trust = False,
) -> None:
    """Talk to the defended model. /defence off|on switches it, /compare shows both replies to the same words."""
    with plain_errors():
        from babelguard.chat import chat as talk
        from babelguard.screen import Screen

        quiet_libraries()
        talk(
            run,
            model=model,
            system=system,
            tokens=tokens,
            device=device or "auto",
            dtype=dtype or "auto",
            trust_remote_code=trust_remote_code,
            screen=Screen(),
        )


@app.command()
def analyse(
    target: Annotated[str, typer.Argument(help="a model, a run folder or a safety prompt's folder")],
    corpus: Corpus = None,
    split: Annotated[
        str, typer.Option(help="whose rows: validation, train, test (for looking, never for choosing)")
    ] = "validation",
    languages: Annotated[
        str | None, typer.Option(help="languages, separated by commas; default: all of the split")
    ] = None,
    limit: Limit = None,
    anchor_rows: Annotated[
        int, typer.Option(min=4, help="training rows per label and language that the safety space is fitted on")
    ] = 8,
    model: Base = None,
    device: Device = None,
    dtype: Dtype = None,
    batch_size: BatchSize = None,
    revision: Revision = None,
    trust_remote_code: Trust = False,
    output: Annotated[
        Path | None, typer.Option(help="folder for numbers and pictures; the same command resumes in it")
    ] = None,
) -> None:
    """Show what languages have in common for TARGET, and which to train on; for a run, before and after."""
    with plain_errors():
        from babelguard.analysis import analyse as run
        from babelguard.screen import Screen

        quiet_libraries()
        run(
            target,
            corpus=corpus,
            split=split,
            languages=words(languages),
            limit=limit,
            anchor_rows=anchor_rows,
            model=model,
            device=device or "auto",
            dtype=dtype or "auto",
            batch_size=batch_size,
            revision=revision,
            trust_remote_code=trust_remote_code,
            output=output,
            screen=Screen(),
        )


def _version(show: bool) -> None:
    if show:
        from babelguard import __version__

        typer.echo(f"babelguard {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version and stop")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Entry point."""
    app()
