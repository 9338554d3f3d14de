"""Find judges, defences, attacks, benchmarks and exporters by name, through entry points.

Each kind has an entry point group, for example `babelguard.judges`. The built-in ones are listed in babelguard's own
`pyproject.toml`; other packages add theirs in the same way. Nothing is imported until it is used.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from babelguard.errors import UserError

Kind = Literal["attacks", "benchmarks", "defences", "exporters", "judges"]


def names(kind: Kind) -> list[str]:
    """Names of everything of this kind that is installed, sorted."""
    return sorted(_entries(kind))


def find(kind: Kind, name: str) -> Any:
    """Load the object registered under `name`, usually a class.

    Raises:
        UserError: If nothing is registered under this name, or it cannot be imported.
    """
    known = _entries(kind)
    if name not in known:
        listed = ", ".join(sorted(known)) or "none is installed; reinstall babelguard"
        raise UserError(f"There is no {kind[:-1]} named '{name}'; available: {listed}.")
    try:
        return known[name].load()
    except Exception as error:  # a module of another package may raise any error
        raise UserError(f"The {kind[:-1]} '{name}' could not be imported ({error}); reinstall its package.") from error


def _entries(kind: Kind) -> dict[str, EntryPoint]:
    """Entry points by name. A built-in one cannot be replaced by another package."""
    found = entry_points(group=f"babelguard.{kind}")
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.value.startswith("babelguard."))}
