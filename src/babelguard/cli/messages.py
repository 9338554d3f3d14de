"""Write settings as command-line options in messages, and turn errors into one sentence and an exit code."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from inspect import signature
from typing import Any, NoReturn, get_args, get_type_hints

import typer
from rich.console import Console

from babelguard.config.load import OPTIONS
from babelguard.errors import Note, UserError, explain_system_error, visible
from babelguard.parallel import FollowerFailed
from babelguard.screen import Screen

_SETTING = re.compile(r"`([a-z][a-z0-9_.]*)`")
# The options of the running command, by the name of the setting.
_FLAGS: ContextVar[Mapping[str, str] | None] = ContextVar("flags", default=None)


def flags_of(command: Callable[..., Any]) -> dict[str, str]:
    """Map setting names to the options of a command, for example `evaluation.rows` to `--limit`."""
    hints = get_type_hints(command, include_extras=True)
    found: dict[str, str] = {}
    for name in signature(command).parameters:
        options = [part for part in get_args(hints[name]) if type(part).__name__ == "OptionInfo"]
        # Typer keeps the first name of an annotated option in `default`.
        named = [(option.default, *option.param_decls) for option in options]
        given = [part for parts in named for part in parts if isinstance(part, str) and part.startswith("--")]
        shown = given[0] if given else f"--{name.replace('_', '-')}" if options else name.upper()
        found |= {name: shown, OPTIONS.get(name, name): shown}
    return found


def as_options(text: str) -> str:
    """Replace setting names in backticks by the options of the running command.

    Settings without an option are written with their name. If the command reads a configuration file, the text says so.
    """
    flags = _FLAGS.get() or {}

    def replace(found: re.Match[str]) -> str:
        name = found[1]
        if name in flags:
            return flags[name]
        return f"{name} (in the configuration file)" if "." in name and "config" in flags else name

    return _SETTING.sub(replace, text)


class _Console(Console):
    """A console that raises the error of a closed pipe, where rich would end the program without a word."""

    def on_broken_pipe(self) -> None:
        raise  # rich calls this while it handles the error


class CommandScreen(Screen):
    """A screen for the command line.

    Args:
        console: The console to print to; default: standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console or _Console())

    def say(self, text: str) -> None:
        """Show a line of text, with settings written as options."""
        super().say(as_options(text))

    def next_commands(self, *commands: tuple[str, ...]) -> None:
        """Show commands to run next."""
        self.title("Next")
        for name, *arguments in commands:
            given = " ".join(arguments)
            if name == "evaluate":
                given = f"{arguments[0]} --prompts {arguments[1]} --defence none"
            super().say(f"  babelguard {name} {given}")


@contextmanager
def plain_errors(command: Callable[..., Any]) -> Iterator[None]:
    """Print errors the user can fix as one sentence, and exit with code 2. Ctrl+C exits with code 130.

    Args:
        command: The running command, whose options are named in messages.
    """
    flags = flags_of(command)
    token = _FLAGS.set(flags)
    try:
        with _notes():
            yield
    except FollowerFailed as error:
        # The only error that the leading process does not report; see `cli.app.main`.
        print(f"Error: {visible(as_options(str(error)))}", file=sys.__stderr__)
        raise typer.Exit(2) from None
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        typer.echo("\nStopped. Finished work is kept; run the same command again to resume.", err=True)
        raise typer.Exit(130) from None
    except (OSError, RuntimeError, MemoryError) as error:
        fault = error if isinstance(error, BrokenPipeError) else _fault_of_output(error)
        if fault is None:
            sentence = explain_system_error(error)
            if sentence is None:
                raise
            _fail(sentence)
        _discard_output()
        # Whoever reads the first lines of a list has what was asked for.
        if isinstance(fault, BrokenPipeError) and not flags.keys() & {"output", "run"}:
            raise typer.Exit(0) from None
        closed = isinstance(fault, BrokenPipeError)
        what = "was closed" if closed else f"could not be written ({fault.strerror or fault})"
        _fail(f"Standard output {what} before the end; finished work is kept: run the same command again.")
    finally:
        _FLAGS.reset(token)


@contextmanager
def _notes() -> Iterator[None]:
    """Print notes as one sentence, and other warnings as Python does."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, Note):
                typer.echo(f"Note: {visible(as_options(str(message)))}", err=True)
            else:
                usual(message, category, *place, **more)

        warnings.showwarning = show
        warnings.simplefilter("always", Note)
        yield


def _fault_of_output(error: BaseException) -> OSError | None:
    """Return the error of standard output, if it is the cause of another error, for example on a full disk."""
    if not isinstance(error, OSError) or error.filename is not None or sys.stdout is None:
        return None
    try:
        # Python drops what it could not write, so only another write shows whether it fails.
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as again:
        return again
    return None


def _discard_output() -> None:
    """Write what is still printed nowhere, so that Python can end without another error."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"Error: {visible(as_options(sentence))}", err=True)
    raise typer.Exit(2) from None
