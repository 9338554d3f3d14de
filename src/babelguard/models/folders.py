"""Check the files of a model folder before anything is loaded. transformers accepts some damaged folders silently."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.files import FileFault, Record, read_record, read_text
from babelguard.models.weight_files import ADVICE, check_weight_files


class TextConfig(Record):
    """The part of config.json about the language model, in models that see images, too."""

    quantization_config: dict[str, Any] | None = None


class ModelConfig(Record):
    """config.json of a model, as far as it is read here."""

    model_type: str | None = None
    architectures: list[str] | None = None
    quantization_config: dict[str, Any] | None = None
    transformers_weights: str | None = None
    text_config: TextConfig | None = None


class GenerationConfig(Record):
    """generation_config.json, as far as it is read here."""

    eos_token_id: int | list[int] | None = None
    suppress_tokens: list[int] | None = None


class AdapterConfig(Record):
    """adapter_config.json of a PEFT adapter."""

    base_model_name_or_path: str | None = None


def model_folder(name: str) -> Path:
    """Return the folder of a local model.

    Raises:
        UserError: If there is no model in it, saying what it holds instead, or if it holds something that is not a file.
    """
    path = Path(name).expanduser()
    if path.suffix == ".gguf" or (path.is_dir() and not (path / "config.json").exists() and any(path.glob("*.gguf"))):
        raise UserError(
            f"{name} is a GGUF file, and babelguard needs the model in the format of transformers; give the folder or the hub id "
            "of the model that it was converted from."
        )
    if not path.is_dir():
        raise UserError(f"{name} is not a model folder; give a folder with a config.json, a hub id, or demo.")
    _check_entries(path)
    if (path / "config.json").exists():
        return path
    adapter = read_record(path / "adapter_config.json", AdapterConfig, ADVICE)
    if adapter is not None:
        base = adapter.base_model_name_or_path or "its base model"
        raise UserError(
            f"The folder {name} is a PEFT adapter of {base}; merge it into that model (merge_and_unload in PEFT), save the "
            "result, and give that folder."
        )
    raise UserError(f"The folder {name} contains no model; give a folder with a config.json.")


def check_files(folder: Path) -> None:
    """Check the JSON files, the chat template and the files of the weights.

    Raises:
        UserError: Naming the file that is damaged or missing.
    """
    config = read_record(folder / "config.json", ModelConfig, ADVICE)
    read_record(folder / "generation_config.json", GenerationConfig, ADVICE)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        read_record(folder / name, Record, ADVICE)
    _check_text(folder / "chat_template.jinja")
    if config is not None:
        inner = None if config.text_config is None else config.text_config.quantization_config
        quantization = inner if config.quantization_config is None else config.quantization_config
        check_weight_files(folder, config.transformers_weights, quantization)


def _check_entries(folder: Path) -> None:
    """Check that the folder holds files and folders only. Reading a pipe would wait for ever."""
    for path in sorted(folder.iterdir()):
        if os.path.exists(path) and not path.is_file() and not path.is_dir():
            raise UserError(f"{path} is not a regular file, but a pipe or a device; remove it, or {ADVICE}.")


def _check_text(path: Path) -> None:
    try:
        read_text(path)
    except FileFault as error:
        if not error.missing:
            raise error.in_run(ADVICE) from error
