"""Open the base model of a safety prompt on disk, without loading its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load
from transformers import AutoConfig, AutoTokenizer

from babelguard.errors import UserError
from babelguard.export import Base
from babelguard.models.checks import check_kind, check_template, drop_marks
from babelguard.models.gguf import Say
from babelguard.models.load import explain, resolve
from babelguard.models.packaged import PACKAGED
from babelguard.models.quiet import quiet
from babelguard.models.sketch import Sketch
from babelguard.prompt import SafetyPrompt

# Files of a hub model that an export needs: no weights in other formats.
FILES = (
    "*.json",
    "*.safetensors",
    "*.jinja",
    "*.model",
    "*.txt",
    "*.py",
    "LICEN*",
    "NOTICE*",
    "*TERMS*",
    "*USE_POLICY*",
)


def open_base(name: str, *, revision: str | None, trust_remote_code: bool, say: Say) -> Base:
    """Open a base model. A model of the hub is downloaded into the hub's cache.

    Args:
        name: Name of a packaged model, a local folder or a hub id.
        revision: Revision of a hub model.
        trust_remote_code: Allow model code from the hub to run.
        say: Called with progress messages.

    Raises:
        UserError: If it is not found, or is not a causal chat model.
    """
    found = resolve(name, say)
    common: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    try:
        folder = Path(found.path) if Path(found.path).is_dir() else _downloaded(found.path, revision)
        with quiet():
            config = AutoConfig.from_pretrained(folder, **common)
            check_kind(config, name)
            tokenizer = AutoTokenizer.from_pretrained(folder, **common)
    except UserError:
        raise
    except Exception as error:  # damaged model folders raise many kinds of errors
        raise UserError(explain(name, found.path, error)) from error
    drop_marks(tokenizer)
    check_template(tokenizer, name)
    return Base(
        name=name if name in PACKAGED or not Path(found.path).is_dir() else Path(found.path).name,
        folder=folder,
        config=config,
        tokenizer=tokenizer,
        base_id=found.base_id,
        revision=revision or (None if Path(found.path).is_dir() else folder.name),
        licence=found.licence or licence_of(folder),
        trust_remote_code=trust_remote_code,
    )


def licence_of(folder: Path) -> str | None:
    """Return the licence of a model by its card, as in hub metadata. None if it has no card or the card does not say."""
    try:
        metadata = metadata_load(folder / "README.md") or {}
    except Exception:  # a card may hold anything, and the licence is only shown
        return None
    licence = metadata.get("license")
    found = metadata.get("license_name") or licence if licence == "other" else licence
    return found if isinstance(found, str) and found.isprintable() else None


def check_prompt(base: Base, prompt: SafetyPrompt, say: Say) -> None:
    """Check that a prompt was trained for the base model. Only the tensors of the sketch are read.

    Raises:
        UserError: See `SafetyPrompt.check`.
    """
    table = base.table
    sketch = Sketch.of(base.skeleton, table.read)
    prompt.check_base(table.width, sketch, base.tokenizer, say)


def _downloaded(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
