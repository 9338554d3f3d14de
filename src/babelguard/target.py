"""What a user may name as a target: a run folder, a safety prompt's folder or hub id, or a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.models.gguf import Say
from babelguard.models.load import ChatModel, load_chat_model
from babelguard.run_folder import RunFolder
from babelguard.safety_prompt import CONFIG, TYPE, SafetyPrompt, is_on_hub


@dataclass(frozen=True)
class Target:
    """A model, and the prompt that defends it, if the target has one."""

    chat: ChatModel
    prompt: SafetyPrompt | None
    settings: dict[str, Any]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or {} where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_prompt(name: str) -> tuple[SafetyPrompt, dict[str, Any]] | None:
    """The prompt that a folder or a hub id holds, with the settings of its run; None where it is neither run nor prompt."""
    path = Path(name).expanduser()
    run = RunFolder(path)
    if run.prompt.is_dir():
        return SafetyPrompt.from_pretrained(run.prompt), settings_of(run)
    if read_json(path / CONFIG).get("type") == TYPE:
        return SafetyPrompt.from_pretrained(path), settings_of(RunFolder(path.resolve().parent))
    if "preset" in read_json(run.settings_file):
        raise UserError(
            f"The run in {name} is not finished, so it has no prompt yet; give its command again to finish it."
        )
    if not path.exists() and is_on_hub(name):
        return SafetyPrompt.from_pretrained(name), {}
    return None


def settings_of(run: RunFolder) -> dict[str, Any]:
    """The settings of a run, with the model that it was given as `base`; {} where the folder is no run."""
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
) -> Target:
    """Load what the user named.

    Args:
        name: A run folder, a prompt's folder or hub id, or a model.
        model: The base model, where it is not the one of the run.
        device: See `load_chat_model`.
        dtype: See `load_chat_model`.
        trust_remote_code: See `load_chat_model`.
        say: Is told what is going on.
        revision: Of a hub model.

    Raises:
        UserError: where the base model cannot be found or is another one.
    """
    found = read_prompt(name)
    prompt, settings = found if found is not None else (None, {})
    base = model or (name if prompt is None else base_of(prompt, settings))
    chat = load_chat_model(
        base,
        revision=revision or settings.get("revision"),
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        say=say,
    )
    if prompt is not None:
        prompt.check(chat.model, chat.tokenizer)
    return Target(chat, prompt, settings)


def base_of(prompt: SafetyPrompt, settings: dict[str, Any]) -> str:
    """Where the base model of a prompt is found: what the run was told, else the prompt's base id.

    Raises:
        UserError: where it was a local folder that is gone or not known.
    """
    if settings.get("base"):
        base = str(settings["base"])
        if Path(base).is_absolute() and not Path(base).is_dir():
            raise UserError(f"The base model is no longer in {base}; say with --model where it lies now.")
        return base
    from babelguard.models.demo import BASE_ID as DEMO
    from babelguard.models.smollm2 import BASE_ID as SMOLLM2

    embedded = {DEMO: "demo", SMOLLM2: "smollm2"}
    base = embedded.get(prompt.base_model, prompt.base_model)
    if base not in embedded.values() and "/" not in base:
        raise UserError(
            f"This safety prompt was trained for '{base}', a local folder of the machine that trained it; say with "
            "--model where that model lies here."
        )
    return base
