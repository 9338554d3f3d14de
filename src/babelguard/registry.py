"""Find judges, defences, attacks, benchmarks and exporters by name, through entry points.

Each kind has an entry point group, for example `babelguard.judges`. The built-in ones are listed in babelguard's own
`pyproject.toml`; other packages add theirs in the same way. Nothing is imported until it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from babelguard.errors import UserError

Kind = Literal["attacks", "benchmarks", "defences", "exporters", "judges"]


def names(kind: Kind) -> list[str]:
    """Return the names of everything of this kind that is installed, sorted."""
    return sorted({entry.name for entry in entry_points(group=f"babelguard.{kind}")})


def create(kind: Kind, name: str, *arguments: Any) -> Any:
    """Create what is registered under `name`.

    Args:
        kind: The kind.
        name: The name of the entry point.
        *arguments: Arguments of the constructor. Defences are created with `for_model(*arguments)`. Judges are created with
            `from_options(*arguments)`, or without arguments if they do not have this class method.

    Raises:
        UserError: If nothing is registered under this name, or it cannot be created or has another name.
    """
    entry = _entry(kind, name)
    found = guarded(kind, name, entry.load)
    build = found.for_model if kind == "defences" else found
    if kind == "judges":
        build, arguments = (found.from_options, arguments) if hasattr(found, "from_options") else (found, ())
    made = guarded(kind, name, build, *arguments)
    if getattr(made, "name", None) != name:
        raise UserError(
            f"The {kind[:-1]} registered as '{name}' calls itself '{getattr(made, 'name', None)}'; give both the same name."
        )
    return made


def guarded(kind: Kind, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call code of another package, and turn its errors into a sentence.

    Raises:
        UserError: If the call fails. Errors that are sentences already are passed on.
    """
    try:
        return function(*arguments)
    except UserError:
        raise
    except Exception as error:  # code of other packages can raise anything
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"The {kind[:-1]} '{name}' failed ({what}); correct or reinstall its package.") from error


def _entry(kind: Kind, name: str) -> EntryPoint:
    """Find an entry point. Built-in ones cannot be replaced by other packages."""
    found = entry_points(group=f"babelguard.{kind}", name=name)
    if not found:
        listed = ", ".join(names(kind)) or "none is installed; reinstall babelguard"
        raise UserError(f"There is no {kind[:-1]} named '{name}'; available: {listed}.")
    own = [entry for entry in found if entry.value.startswith("babelguard.")]
    values = {entry.value for entry in own or found}
    if len(values) > 1:
        raise UserError(
            f"Several packages register the {kind[:-1]} '{name}' ({', '.join(sorted(values))}); uninstall all but one."
        )
    return (own or list(found))[0]
