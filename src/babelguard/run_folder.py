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
from babelguard.errors import UserError, cannot_write

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
    def local_file(self) -> Path:
        """Where the model was found: the only file of a run that may name a path of the machine."""
        return self.path / "local.json"

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


def with_defaults(found: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run that an older version made: one that is newer than the run had its default's effect."""
    defaults = Settings.model_construct(model="").model_dump(mode="json")
    return {name: value for name, value in defaults.items() if name not in FREE} | found


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
    environment_file = path / "environment.json"
    wanted = {k: v for k, v in settings.model_dump(mode="json").items() if k not in FREE} | facts
    if run.settings_file.exists():
        try:
            found = json.loads(run.settings_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{run.settings_file} is damaged; choose another --output or delete the folder.") from error
        if not isinstance(found, dict):
            raise UserError(f"{run.settings_file} is damaged; choose another --output or delete the folder.")
        found = with_defaults(found)
        differing = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        if differing:
            which = ", ".join(f"{k} was {found.get(k)!r} and is {wanted.get(k)!r}" for k in differing[:3])
            raise UserError(f"The output folder {path} holds another run ({which}); choose another --output.")
        return run
    if path.exists() and not path.is_dir():
        raise UserError(f"The output {path} is a file, not a folder; choose another --output.")
    # What a kill before the first line of config.json leaves behind is a run all the same.
    first = {environment_file.name, environment_file.name + ".part", run.settings_file.name + ".part"}
    if path.is_dir() and any(file.name not in first for file in path.iterdir()):
        raise UserError(f"The output folder {path} holds files that are no run of babelguard; choose another --output.")
    write_json(environment_file, environment())
    write_json(run.settings_file, wanted)
    return run


def open_folder(path: Path, kind: str, facts: dict[str, str], name: str | None = None) -> None:
    """Open the folder of a new or interrupted evaluation or analysis; a file in it says of what.

    Args:
        path: The folder.
        kind: What it holds, in a word for messages.
        facts: What the result depends on.
        name: Of the file that says so; default: <kind>.json.

    Raises:
        UserError: where it holds one of other prompts or another model, or other files.
    """
    manifest = path / (name or f"{kind}.json")
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    if found and found != facts:
        raise UserError(
            f"The folder {path} holds the {kind} of other prompts, another split or another model; choose another --output."
        )
    # A kill while the first file is written leaves a draft of it behind.
    first = {manifest.name, manifest.name + ".part"}
    if not found and path.is_dir() and any(file.name not in first for file in path.iterdir()):
        raise UserError(f"The folder {path} holds files that belong to no {kind}; choose another --output.")
    write_json(manifest, facts)


def remember_model(run: RunFolder, model: str) -> None:
    """Write what the user named as the model, so that `chat` and `evaluate` find it again.

    A local folder is written as an absolute path. It stands in a file of its own, so that everything else of a run can
    be passed on as it is; where the file is missing, `--model` says where the model lies.
    """
    folder = Path(model).expanduser()
    content = {"model": str(folder.resolve()) if folder.is_dir() and model not in ("demo", "smollm2") else model}
    if run.local_file.exists() and run.local_file.read_text(encoding="utf-8") == as_json(content):
        return
    write_json(run.local_file, content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one rename.

    Raises:
        UserError: where the disk is full or the folder cannot be written.
    """
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    """JSON as it stands in the files of a run."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file in one rename.

    Raises:
        UserError: where the disk is full or the folder cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        onto_disk(draft)
        os.replace(draft, path)
    except OSError as error:
        raise UserError(cannot_write(path, error)) from error


def onto_disk(path: Path) -> None:
    """Have a file's content on the disk before it is renamed: after a power cut the old file stands or the new one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


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
