"""Open what the user names as a target: a run folder, a safety prompt's folder or hub id, or a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.files import read_json
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
    _check_readable(path / CONFIG)
    if read_json(path / CONFIG).get("type") == TYPE:
        return SafetyPrompt.from_pretrained(path), settings_of(RunFolder(path.resolve().parent))
    if "preset" in read_json(run.settings_file):
        raise UserError(f"The run in {name} is not finished and has no safety prompt yet; run its command again.")
    if not path.exists() and is_on_hub(name):
        return SafetyPrompt.from_pretrained(name), {}
    return None


def _check_readable(config: Path) -> None:
    """Check that a config.json, if there is one, is a JSON object.

    Raises:
        UserError: If it is damaged.
    """
    if config.is_file() and not read_json(config):
        raise UserError(f"{config} is damaged or empty; restore it, or name another target.")


def settings_of(run: RunFolder) -> dict[str, Any]:
    """Read the settings of a run, and the location of its model as `base`. Empty if the folder is not a run."""
    settings = read_json(run.settings_file)
    if "preset" not in settings:
        return {}
    return settings | {"base": read_json(run.local_file).get("model")}


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
