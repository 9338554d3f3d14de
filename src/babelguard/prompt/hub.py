"""Find and download safety prompts on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from babelguard.errors import UserError
from babelguard.files import read_json_file
from babelguard.prompt.storage import CARD, CONFIG, TYPE, WEIGHTS


def looks_like_hub_id(name: str) -> bool:
    """Whether a name has the form `user/name`."""
    return not name.startswith((".", "/", "~")) and name.count("/") == 1


def is_on_hub(name: str) -> bool:
    """Whether a hub id names a safety prompt. False for models, unknown ids, and without a network."""
    from huggingface_hub import hf_hub_download

    if not looks_like_hub_id(name):
        return False
    try:
        config = read_json_file(Path(hf_hub_download(name, CONFIG)))
    except Exception:  # the hub client raises many kinds of errors; loading the model will report them
        return False
    return isinstance(config, dict) and config.get("type") == TYPE


def download(name: str, revision: str | None) -> Path:
    """Download a safety prompt and return its folder.

    Raises:
        UserError: If it cannot be downloaded.
    """
    from huggingface_hub import snapshot_download

    if not looks_like_hub_id(name):
        raise UserError(f"The safety prompt folder {name} does not exist; check the name.")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[CONFIG, WEIGHTS, CARD]))
    except Exception as error:  # the hub client raises many kinds of errors
        text = " ".join(str(error).split())[:200]
        raise UserError(
            f"{name} is neither a local folder nor a safety prompt that could be downloaded from the hub: {text}."
        ) from error
