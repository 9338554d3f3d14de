"""Write the files beside the weights of an exported model: its configuration, generation settings, licences and code."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from babelguard.errors import UserError
from babelguard.files import FileFault, read_json_file, write_json
from babelguard.models.weight_files import ADVICE

# Parts of the names of files with licences and notices.
NOTICES = ("LICENSE", "LICENCE", "NOTICE", "TERMS", "USE_POLICY")
# Settings of models that see or hear, and the code of models of the hub.
BESIDE = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
# Keys that hold the path of a machine, or the dtype under its old name.
DROPPED = ("_name_or_path", "torch_dtype")


def write_config(source: Path, folder: Path, *, rows: int, dtype: str | None) -> None:
    """Write config.json of a model with a head of its own.

    Args:
        source: The folder of the base model.
        folder: Where to write.
        rows: Number of rows of the embedding table.
        dtype: The dtype of the weights, if it is not that of the base model.

    Raises:
        UserError: If the file of the base model is damaged, or the folder cannot be written.
    """
    config = _read(source / "config.json")
    stored = next((part[key] for part in _parts(config) for key in ("dtype", "torch_dtype") if key in part), None)
    text = _parts(config)[-1]
    for part in _parts(config):
        for key in DROPPED:
            part.pop(key, None)
        part["tie_word_embeddings"] = False
        if dtype is not None and ("dtype" in part or part is config):
            part["dtype"] = dtype
    if dtype is None and stored is not None:
        config["dtype"] = stored
    text["vocab_size"] = max(rows, int(text.get("vocab_size", 0)))
    if "vocab_size" in config:
        config["vocab_size"] = text["vocab_size"]
    write_json(folder / "config.json", config)


def write_generation_config(source: Path, folder: Path, config: Any, ids: Collection[int]) -> None:
    """Write generation_config.json, in which the placeholders are suppressed.

    Args:
        source: The folder of the base model.
        folder: Where to write.
        config: The configuration of the base model, for models without a generation_config.json.
        ids: The ids of the placeholders.

    Raises:
        UserError: If the file of the base model is damaged, or the folder cannot be written.
    """
    path = source / "generation_config.json"
    found = _read(path) if path.exists() else GenerationConfig.from_model_config(config).to_diff_dict()
    found["suppress_tokens"] = sorted({*(found.get("suppress_tokens") or ()), *ids})
    write_json(folder / path.name, found)


def copy_notices(source: Path, folder: Path) -> None:
    """Copy licences and notices, which must accompany every copy of the weights.

    Raises:
        OSError: If a file cannot be copied.
    """
    _copy(source, folder, lambda file: any(mark in file.name.upper() for mark in NOTICES))


def copy_beside(source: Path, folder: Path) -> None:
    """Copy what transformers needs beside the weights to prepare pictures and sound, or to run a model of the hub.

    Raises:
        OSError: If a file cannot be copied.
    """
    _copy(source, folder, lambda file: file.name in BESIDE or file.suffix == ".py")


def _copy(source: Path, folder: Path, wanted: Callable[[Path], bool]) -> None:
    for file in sorted(source.iterdir()):
        if file.is_file() and wanted(file) and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)


def _parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the configuration and that of its language model, if it has one of its own."""
    inner = config.get("text_config")
    return [config, *([inner] if isinstance(inner, dict) else [])]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json_file(path)
    except FileFault as error:
        raise error.in_run(ADVICE) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged (it is not a JSON object); {ADVICE}.")
    return content
