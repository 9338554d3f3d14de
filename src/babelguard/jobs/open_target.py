"""Open what the user names as a target: a run folder, a safety prompt's folder or hub id, or a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelguard.errors import UserError, damaged
from babelguard.files import FileFault, read_json_file, read_record
from babelguard.jobs.run_files import LocalFile, read_run_config
from babelguard.jobs.run_folder import RunFolder
from babelguard.models.gguf import Say
from babelguard.models.load import ChatModel, load_chat_model
from babelguard.models.packaged import PACKAGED
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.hub import is_on_hub
from babelguard.prompt.storage import CONFIG, TYPE


@dataclass(frozen=True)
class OpenedTarget:
    """A model, and the safety prompt that defends it if there is one."""

    chat: ChatModel
    prompt: SafetyPrompt | None


def read_prompt(name: str) -> tuple[SafetyPrompt, dict[str, Any]] | None:
    """Read the safety prompt of a run, a folder or a hub id.

    Returns:
        The prompt and the settings of its run, or None if `name` is neither a run nor a prompt.

    Raises:
        UserError: If the run is not finished or the prompt is damaged.
    """
    path = Path(name).expanduser()
    run = RunFolder(path)
    if run.prompt.is_dir():
        return SafetyPrompt.from_pretrained(run.prompt), settings_of(run)
    config = _config(path / CONFIG)
    if config.get("type") == TYPE:
        around = RunFolder(path.resolve().parent)
        # Any other folder may contain a config.json that has nothing to do with the prompt.
        in_run = around.prompt == path.resolve()
        return SafetyPrompt.from_pretrained(path), settings_of(around) if in_run else {}
    if "preset" in config:
        raise UserError(f"The run in {name} is not finished and has no safety prompt yet; run its command again.")
    if not path.exists() and is_on_hub(name):
        return SafetyPrompt.from_pretrained(name), {}
    return None


def _config(path: Path) -> dict[str, Any]:
    """Read a config.json, which may be that of a prompt, a run or a model. Empty if there is none.

    Raises:
        UserError: If it is damaged.
    """
    try:
        content = read_json_file(path)
    except FileFault as error:
        if error.missing:
            return {}
        raise error.in_run("restore it, or name another target") from error
    if not isinstance(content, dict) or not content:
        raise UserError(damaged(path, "it is not a JSON object", "restore it, or name another target"))
    return content


def settings_of(run: RunFolder) -> dict[str, Any]:
    """Read the settings of a run, and the location of its model as `base`. Empty if the folder is not a run."""
    if "preset" not in _config(run.settings_file):
        return {}
    settings, local = read_run_config(run.path), read_record(run.local_file, LocalFile)
    found = {} if settings is None else {"revision": settings.revision, "dtype": settings.dtype}
    return found | {"base": local.model if local else None}


def open_target(
    name: str,
    *,
    model: str | None,
    device: str,
    dtype: str,
    trust_remote_code: bool,
    say: Say,
    revision: str | None = None,
) -> OpenedTarget:
    """Load the model of a target.

    Args:
        name: A run folder, a safety prompt's folder or hub id, or a model.
        model: The base model, if it is not at the location recorded in the run.
        device: See `choose_device`.
        dtype: See `choose_dtype`.
        trust_remote_code: Allow model code from the hub to run.
        say: Called with progress messages.
        revision: Revision of a hub model.

    Raises:
        UserError: If the base model is not found, or the prompt was not trained for it.
    """
    found = read_prompt(name)
    if found is None and model is not None:
        raise UserError(
            f"{name} is neither a run nor a safety prompt, and `model` is only used with one of these; check the name, or name "
            "the model itself as the target."
        )
    prompt, settings = found if found is not None else (None, {})
    base = model or (name if prompt is None else base_of(prompt, settings))
    chat = load_chat_model(
        base,
        revision=revision or settings.get("revision"),
        device=device,
        # Replies depend on the dtype, so `auto` means that of the run.
        dtype=str(settings.get("dtype", dtype)) if dtype == "auto" else dtype,
        trust_remote_code=trust_remote_code,
        say=say,
    )
    if prompt is not None:
        prompt.check(chat.model, chat.tokenizer, say)
    return OpenedTarget(chat, prompt)


def base_of(prompt: SafetyPrompt, settings: dict[str, Any]) -> str:
    """Find the base model of a prompt: at the location recorded in the run, or by its hub id.

    Raises:
        UserError: If it was a local folder that no longer exists or is not known.
    """
    if settings.get("base"):
        base = str(settings["base"])
        if Path(base).is_absolute() and not Path(base).is_dir():
            raise UserError(f"The base model is no longer in {base}; set `model` to its new location.")
        return base
    packaged = {known.base_id: name for name, known in PACKAGED.items()}
    base = packaged.get(prompt.base_model, prompt.base_model)
    if base not in PACKAGED and "/" not in base:
        raise UserError(
            f"This safety prompt was trained for '{base}', a local folder on another machine; set `model` to its location here."
        )
    return base
