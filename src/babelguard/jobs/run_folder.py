"""The folder of a run: its paths, its identity, and resuming it with the same command."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from babelguard.config import Settings
from babelguard.config.load import RENAMED, flat
from babelguard.config.sections import Data, Evaluation, Objective, Selection, Training
from babelguard.errors import UserError
from babelguard.files import LOCK, FileFault, read_json_file, read_record, write_json
from babelguard.jobs.run_files import CONFIG, LOCAL, METRICS, Facts, LocalFile, RunConfig
from babelguard.method.objective import resolve_weights
from babelguard.models.packaged import PACKAGED

# Settings that do not change the result, except for rounding, or whose effect is in the digest of the corpus. A run can be
# resumed with other values of them.
OUTSIDE_IDENTITY = {
    "sharding",
    "evaluation.batch_size",
    "data.corpus",
    "data.columns",
    "data.label_column",
    "data.harmful",
}


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """Settings and identity of the run."""
        return self.path / CONFIG

    @property
    def local_file(self) -> Path:
        """Location of the model. No other file of a run contains a path of this machine."""
        return self.path / LOCAL

    @property
    def prompt(self) -> Path:
        """Folder of the safety prompt."""
        return self.path / "safety_prompt"

    @property
    def metrics(self) -> Path:
        """The metrics. They are written last, so if the file exists, the run is complete."""
        return self.path / METRICS

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.md"

    @property
    def picture(self) -> Path:
        """The picture of the outcomes."""
        return self.path / "outcomes.png"

    @property
    def rendered(self) -> Path:
        """Example prompts as the model receives them."""
        return self.path / "prompts.jsonl"


def default_output(settings: Settings, model_name: str) -> Path:
    """Return the default folder of a run."""
    return Path("runs") / f"{model_name.replace('/', '--')}-{settings.preset}-seed{settings.seed}"


def identity(settings: Settings) -> dict[str, Any]:
    """Return the settings that a run depends on, by dotted name."""
    return {
        name: value for name, value in flat(settings.model_dump(mode="json")).items() if name not in OUTSIDE_IDENTITY
    }


def with_defaults(found: dict[str, Any]) -> dict[str, Any]:
    """Add the defaults of settings and losses that were introduced after the run was made."""
    defaults = Settings.model_construct(
        model="",
        data=Data(),
        objective=Objective(weights=resolve_weights({})),
        training=Training(),
        selection=Selection(),
        evaluation=Evaluation(),
    )
    return identity(defaults) | found


def open_run(path: Path, settings: Settings, facts: dict[str, Any]) -> RunFolder:
    """Open a new or interrupted run.

    Args:
        path: The folder.
        settings: The settings of this call.
        facts: Other things the result depends on, such as hashes of the model and the corpus.

    Raises:
        UserError: If the folder holds another run or other files, or cannot be written.
    """
    run = RunFolder(path)
    environment_file = path / "environment.json"
    # A run does not depend on the location of its model, which is in local.json.
    settings = settings.model_copy(update={"model": facts.get("model", settings.model)})
    nested = settings.model_dump(mode="json")
    if run.settings_file.exists():
        _check_same(run, identity(settings) | flat({"run": facts}))
        return run
    # These files remain if the process is killed before config.json is written.
    first = {LOCK, environment_file.name, environment_file.name + ".part", run.settings_file.name + ".part"}
    if path.is_dir() and any(file.name not in first for file in path.iterdir()):
        raise UserError(f"The folder {path} contains files that do not belong to a run; choose another `output`.")
    write_json(environment_file, environment())
    for name in OUTSIDE_IDENTITY:
        *sections, key = name.split(".")
        del (nested[sections[0]] if sections else nested)[key]
    write_json(run.settings_file, nested | {"run": facts})
    return run


def run_digest(path: Path) -> str:
    """Return the SHA-256 of config.json of a run, which says what the run depends on. It does not change when the run is resumed.

    Raises:
        UserError: If there is no config.json, or it is damaged.
    """
    try:
        content = read_json_file(path / CONFIG)
    except FileFault as error:
        raise error.in_run("choose another `output`") from error
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_same(run: RunFolder, wanted: dict[str, Any]) -> None:
    """Check that a folder holds the wanted run."""
    config = read_record(run.settings_file, RunConfig, "choose another `output`")
    content = {} if config is None else config.model_dump(mode="json", exclude_unset=True)
    if any(name in content for name in RENAMED):
        raise UserError(
            f"The run in {run.path} was made by an older version of babelguard and cannot be resumed; choose another `output`."
        )
    found = with_defaults(flat(content))
    differing = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
    if differing:
        changes = [f"{k.removeprefix('run.')} was {found.get(k)!r}, now {wanted.get(k)!r}" for k in differing[:3]]
        raise UserError(f"The folder {run.path} contains another run ({'; '.join(changes)}); choose another `output`.")


def open_folder(path: Path, kind: str, facts: dict[str, str], name: str | None = None) -> None:
    """Open the folder of a new or interrupted evaluation or analysis.

    Args:
        path: The folder.
        kind: `evaluation` or `analysis`, for messages.
        facts: What the result depends on.
        name: Name of the file that holds the facts; default: <kind>.json.

    Raises:
        UserError: If it holds another evaluation or analysis, or other files.
    """
    manifest = path / (name or f"{kind}.json")
    facts_found = read_record(manifest, Facts, "choose another `output`")
    found = {} if facts_found is None else facts_found.model_dump()
    if found and {**found, "judge": None} == {**facts, "judge": None} and found.get("judge") != facts.get("judge"):
        raise UserError(
            f"The replies in {path} were judged by '{found.get('judge')}', and this {kind} uses '{facts.get('judge')}'; choose "
            "another `output`, or judge the replies again with the command judge."
        )
    if found and found != facts:
        raise UserError(
            f"The folder {path} contains the {kind} of other prompts, another model or other options; choose another `output`."
        )
    # A draft of the first file remains if the process is killed while writing it.
    first = {LOCK, manifest.name, manifest.name + ".part"}
    if not found and path.is_dir() and any(file.name not in first for file in path.iterdir()):
        raise UserError(f"The folder {path} contains files that do not belong to an {kind}; choose another `output`.")
    write_json(manifest, facts)


def remember_model(run: RunFolder, model: str) -> None:
    """Write the location of the model, so that other commands find it again.

    Local folders are written as absolute paths. They are in a file of their own, so that the other files can be shared.
    """
    folder = Path(model).expanduser()
    content = {"model": str(folder.resolve()) if folder.is_dir() and model not in PACKAGED else model}
    if read_record(run.local_file, LocalFile) == LocalFile(**content):
        return
    write_json(run.local_file, content)


def environment() -> dict[str, Any]:
    """Describe versions and hardware, without names, paths or tokens."""
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
