"""Check the files of a model's weights: that they are complete, and that no weight needs a scale that nobody applies."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import Field
from safetensors import safe_open
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from babelguard.errors import UserError, damaged
from babelguard.files import Record, read_record
from babelguard.models.checks import OLD_BUFFERS

ADVICE = "download or convert the model again"
# transformers loads the first of these that exists. It loads pytorch_model.bin without running the code in it.
_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_PICKLED = {".bin", ".pt", ".pth"}
# Number formats that hold the weights themselves, by their names in safetensors files. All others need a scale.
_PLAIN = {"F64", "F32", "F16", "BF16"}
_TORCH_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
# Buffers of integers.
_COUNTERS = ("position_ids", "num_batches_tracked")
# Methods whose scales are stored beside each weight, and that transformers loads without a scale if there is none.
_SCALED = {"fp8", "mxfp8", "fbgemm_fp8"}


class ShardIndex(Record):
    """The index of a model in several files.

    Attributes:
        weight_map: The file of each tensor.
    """

    weight_map: dict[str, str] = Field(min_length=1)


class _Stored(NamedTuple):
    """A tensor in a file."""

    path: Path
    name: str
    form: str


def check_weight_files(folder: Path, explicit: str | None, quantization: dict[str, Any] | None) -> None:
    """Check the files of the weights of a local model. Only the headers are read.

    Args:
        folder: The model.
        explicit: The file that config.json names, if any.
        quantization: The quantization_config of config.json.

    Raises:
        UserError: Naming the file or the weight.
    """
    _check_method(folder, quantization)
    name = next((name for name in (explicit, *_NAMES) if name and os.path.exists(folder / name)), None)
    if name is None:  # transformers says which files it looks for
        return
    if name.endswith(".index.json"):
        index = read_record(folder / name, ShardIndex, ADVICE)
        stored = [] if index is None else list(_shards(folder / name, index))
    else:
        stored = list(_tensors(folder / name))
    _check_formats(stored, quantization)


def _check_method(folder: Path, quantization: dict[str, Any] | None) -> None:
    """Check that transformers knows the quantisation method. It ignores the others, and loads the weights unscaled."""
    # Files of old versions of bitsandbytes have no method.
    if quantization is None or quantization.get("load_in_8bit") or quantization.get("load_in_4bit"):
        return
    method = quantization.get("quant_method")
    if not isinstance(method, str) or method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        what = "has no quant_method" if method is None else f"has the quant_method {str(method)[:100]!r}"
        raise UserError(
            f"The quantization_config in {folder / 'config.json'} {what}, and transformers needs one that it knows; use the "
            "model without quantisation."
        )


def _shards(path: Path, index: ShardIndex) -> Iterator[_Stored]:
    """Yield the tensors of all files, and check that the index and the files have the same."""
    folder = path.parent
    for name in sorted(set(index.weight_map.values())):
        shard = folder / name
        if Path(name).name != name or not name or len(os.fsencode(name)) > 255:
            raise UserError(damaged(path, f"'{name[:100]}' is not the name of a file in this folder", ADVICE))
        if not shard.is_file():
            raise UserError(f"The weights in {folder} are not complete: the file {name} is missing; {ADVICE}.")
        listed = {key for key, file in index.weight_map.items() if file == name}
        stored = list(_tensors(shard))
        held = {one.name for one in stored}
        if absent := sorted(listed - held):
            raise UserError(f"The weights in {folder} are not complete: {absent[0]} is missing in {name}; {ADVICE}.")
        if extra := sorted(held - listed):
            raise UserError(
                f"The weights in {folder} are not complete: {extra[0]} in {name} is missing in {path.name}; {ADVICE}."
            )
        yield from stored


def _check_formats(stored: Sequence[_Stored], quantization: dict[str, Any] | None) -> None:
    """Check that each weight holds plain numbers, or that something says how to scale them."""
    method = None if quantization is None else quantization.get("quant_method", "bitsandbytes")
    if method is not None and method not in _SCALED:
        return  # transformers reports missing scales of the other methods
    names = {one.name for one in stored}
    for one in stored:
        if one.form in _PLAIN or one.name.endswith((*OLD_BUFFERS, *_COUNTERS)):
            continue
        if method is None:
            raise UserError(
                f"The weight {one.name} in {one.path} is quantised or packed ({one.form}), but config.json has no "
                f"quantization_config that says how; {ADVICE}."
            )
        stem = one.name.removesuffix("weight")
        if "scale" not in one.name.rpartition(".")[2] and not any(
            name.startswith(stem) and "scale" in name[len(stem) :] for name in names
        ):
            raise UserError(f"The weight {one.name} in {one.path} ({one.form}) has no scale beside it; {ADVICE}.")


def _tensors(path: Path) -> Iterator[_Stored]:
    """Yield the tensors of a file. Only the header is read.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        if path.suffix in _PICKLED:
            content = torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
            if not isinstance(content, dict) or not all(isinstance(one, torch.Tensor) for one in content.values()):
                raise ValueError("it does not hold a tensor for each name")
            forms = {name: one.dtype for name, one in content.items()}
            parts = [(name, _TORCH_NAMES.get(form, str(form).removeprefix("torch."))) for name, form in forms.items()]
        else:
            with path.open("rb"), safe_open(path, framework="pt") as file:
                parts = [(name, file.get_slice(name).get_dtype()) for name in file.keys()]  # noqa: SIM118 (not a dict)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged or contains more than weights, which could be code; download the model again, or convert it to "
            "safetensors."
        ) from error
    except Exception as error:  # of safetensors, of torch and of the operating system
        why = getattr(error, "strerror", None) or " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(damaged(path, why or type(error).__name__, ADVICE)) from error
    for name, form in parts:
        yield _Stored(path, str(name), form)
