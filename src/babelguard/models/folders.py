"""Check the files of a model folder before anything is loaded. transformers accepts some damaged folders silently."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field
from safetensors import safe_open

from babelguard.errors import UserError, damaged
from babelguard.files import FileFault, Record, read_record, read_text
from babelguard.models.checks import OLD_BUFFERS

ADVICE = "download or convert the model again"
INDEX = "model.safetensors.index.json"
# Number formats of quantised weights, by their names in safetensors files.
_QUANTISED = {"I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0"}


class ModelConfig(Record):
    """config.json of a model, as far as it is read here."""

    model_type: str | None = None
    quantization_config: dict[str, Any] | None = None


class GenerationConfig(Record):
    """generation_config.json, as far as it is read here."""

    eos_token_id: int | list[int] | None = None
    suppress_tokens: list[int] | None = None


class AdapterConfig(Record):
    """adapter_config.json of a PEFT adapter."""

    base_model_name_or_path: str | None = None


class ShardIndex(Record):
    """The index of a model in several files.

    Attributes:
        weight_map: The file of each tensor.
    """

    weight_map: dict[str, str] = Field(min_length=1)


def model_folder(name: str) -> Path:
    """Return the folder of a local model.

    Raises:
        UserError: If there is no model in it, saying what it holds instead.
    """
    path = Path(name).expanduser()
    if path.suffix == ".gguf" or (path.is_dir() and not (path / "config.json").exists() and any(path.glob("*.gguf"))):
        raise UserError(
            f"{name} is a GGUF file, and babelguard needs the model in the format of transformers; give the folder or the hub id "
            "of the model that it was converted from."
        )
    if not path.is_dir():
        raise UserError(f"{name} is not a model folder; give a folder with a config.json, a hub id, or demo.")
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
    """Check the JSON files, the chat template and the index of the weights.

    Raises:
        UserError: Naming the file that is damaged or missing.
    """
    config = read_record(folder / "config.json", ModelConfig, ADVICE)
    read_record(folder / "generation_config.json", GenerationConfig, ADVICE)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        read_record(folder / name, Record, ADVICE)
    _check_text(folder / "chat_template.jinja")
    index = read_record(folder / INDEX, ShardIndex, ADVICE)
    whole = folder / "model.safetensors"
    # transformers uses the file without an index if there are both.
    if index is not None and not whole.exists():
        _check_index(folder, index)
    if config is None or config.quantization_config is None:
        files = (
            [whole]
            if whole.exists()
            else sorted({folder / name for name in index.weight_map.values()} if index else ())
        )
        for file in files:
            _check_formats(file)


def _check_text(path: Path) -> None:
    try:
        read_text(path)
    except FileFault as error:
        if not error.missing:
            raise error.in_run(ADVICE) from error


def _check_index(folder: Path, index: ShardIndex) -> None:
    """Check that the index and the files have the same tensors."""
    for name in sorted(set(index.weight_map.values())):
        path = folder / name
        if Path(name).name != name:
            raise UserError(damaged(folder / INDEX, f"'{name}' is not the name of a file in this folder", ADVICE))
        if not path.is_file():
            raise UserError(f"The weights in {folder} are not complete: the file {name} is missing; {ADVICE}.")
        listed = {key for key, file in index.weight_map.items() if file == name}
        held = {key for key, _, _ in _tensors(path)}
        if absent := sorted(listed - held):
            raise UserError(f"The weights in {folder} are not complete: {absent[0]} is missing in {name}; {ADVICE}.")
        if extra := sorted(held - listed):
            raise UserError(
                f"The weights in {folder} are not complete: {extra[0]} in {name} is missing in {INDEX}; {ADVICE}."
            )


def _check_formats(path: Path) -> None:
    """Check that no weight is quantised, because config.json does not say how to scale it."""
    for key, kind, dimensions in _tensors(path):
        if kind in _QUANTISED and dimensions > 1 and not key.endswith(OLD_BUFFERS):
            raise UserError(
                f"The weight {key} in {path} is quantised ({kind}), but config.json has no quantization_config that says how; "
                f"{ADVICE}."
            )


def _tensors(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield the name, the number format and the number of dimensions of each tensor. Only the header is read."""
    try:
        with path.open("rb"), safe_open(path, framework="pt") as file:
            parts = [(key, file.get_slice(key)) for key in file.keys()]  # noqa: SIM118 (not a dict)
            yield from [(key, part.get_dtype(), len(part.get_shape())) for key, part in parts]
    except Exception as error:  # of safetensors and of the operating system
        why = getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(".")
        raise UserError(damaged(path, why, ADVICE)) from error
