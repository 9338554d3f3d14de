"""The run folder: what was asked for, where it ran, and what came out. The same command continues in it."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from babelguard.config import Settings
from babelguard.errors import UserError

# Where and how fast it runs does not change what comes out (up to rounding), so a run may be resumed with others.
FREE = {"batch_size", "corpus"}


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """The settings of the run."""
        return self.path / "config.json"

    @property
    def prompt(self) -> Path:
        """The folder of the safety prompt."""
        return self.path / "safety_prompt"

    @property
    def metrics(self) -> Path:
        """The metrics, written last: a run that has them is done."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.md"

    @property
    def picture(self) -> Path:
        """The picture."""
        return self.path / "outcomes.png"

    @property
    def rendered(self) -> Path:
        """The prompts as the model saw them."""
        return self.path / "prompts.jsonl"


def default_output(settings: Settings, model_name: str) -> Path:
    """Where a run is written if the user names no folder."""
    return Path("runs") / f"{model_name.replace('/', '--')}-{settings.preset}-seed{settings.seed}"


def open_run(path: Path, settings: Settings, facts: dict[str, Any]) -> RunFolder:
    """Open a new or interrupted run.

    Args:
        path: The folder.
        settings: What is asked for now.
        facts: What else the result depends on (model fingerprint, corpus hash), compared like the settings.

    Raises:
        UserError: where the folder holds another run or something else, or cannot be written.
    """
    run = RunFolder(path)
    wanted = {k: v for k, v in settings.model_dump(mode="json").items() if k not in FREE} | facts
    if run.settings_file.exists():
        try:
            found = json.loads(run.settings_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{run.settings_file} is damaged; choose another --output or delete the folder.") from error
        differing = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        if differing:
            which = ", ".join(f"{k} was {found.get(k)!r} and is {wanted.get(k)!r}" for k in differing[:3])
            raise UserError(f"The output folder {path} holds another run ({which}); choose another --output.")
        return run
    if path.exists() and not path.is_dir():
        raise UserError(f"The output {path} is a file, not a folder; choose another --output.")
    if path.is_dir() and any(path.iterdir()):
        raise UserError(f"The output folder {path} holds files that are no run of babelguard; choose another --output.")
    write_json(path / "environment.json", environment())
    write_json(run.settings_file, wanted)
    return run


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one rename.

    Raises:
        UserError: where the disk is full or the folder cannot be written.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in one rename.

    Raises:
        UserError: where the disk is full or the folder cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise UserError(
            f"{path} could not be written ({error.strerror or error}); free some space or choose another --output, and give "
            "the same command again."
        ) from error


def environment() -> dict[str, Any]:
    """Versions and the kind of machine; no names, no paths, no tokens."""
    packages = ("babelguard", "torch", "transformers", "tokenizers", "safetensors", "scikit-learn", "numpy")
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "packages": versions,
    }
