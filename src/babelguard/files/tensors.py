"""Tensors in safetensors files, with a SHA-256 of their content in the metadata. One changed bit is found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from babelguard.errors import UserError, cannot_write
from babelguard.files.records import Record, reason
from babelguard.files.text import FileFault
from babelguard.files.writing import write_bytes

# One text holds all metadata, because safetensors writes several in a random order.
METADATA = "babelguard"


class Metadata(Record):
    """What is written beside the tensors.

    Attributes:
        sha256: See `checksum`.
        texts: Texts of the caller.
    """

    sha256: str
    texts: dict[str, str]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors atomically: if the process is killed, the previous file remains.

    Args:
        path: The file.
        tensors: Tensors of any shape and dtype.
        metadata: Texts to write beside them. The checksum covers them.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    texts = dict(metadata or {})
    beside = Metadata(sha256=checksum(kept, texts), texts=texts)
    try:
        content = save(kept, {METADATA: beside.model_dump_json()})
    except SafetensorError as error:
        raise UserError(cannot_write(path, error)) from error
    write_bytes(path, content)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str], bool]:
    """Read a file of tensors, and compare its checksum.

    Returns:
        The tensors, the texts beside them, and whether the file has a checksum. Files of older versions have none.

    Raises:
        FileFault: If the file does not exist, is not a safetensors file, or was changed after it was written.
    """
    try:
        with path.open("rb"), safe_open(path, framework="pt") as file:
            written = (file.metadata() or {}).get(METADATA)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise FileFault(path, "the file does not exist", missing=True) from error
    except IsADirectoryError as error:
        raise FileFault(path, "Is a directory", folder=True) from error
    except OSError as error:
        raise FileFault(path, error.strerror or " ".join(str(error).split()), unreadable=True) from error
    # Damaged files raise several kinds of errors: of safetensors, of torch, and of the interpreter.
    except Exception as error:
        raise FileFault(path, " ".join(str(error).split())[:200].rstrip(".")) from error
    if written is None:
        return tensors, {}, False
    try:
        beside = Metadata.model_validate_json(written)
    except ValidationError as error:
        raise FileFault(path, reason(error)) from error
    if beside.sha256 != checksum(tensors, beside.texts):
        raise FileFault(path, "its content does not have the checksum that was written with it")
    return tensors, beside.texts, True


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of names, dtypes, shapes and bytes of tensors, and of texts, in the order of their names."""
    digest = hashlib.sha256()
    for name, text in sorted(metadata.items()):
        digest.update(repr((name, text)).encode("utf-8", "surrogatepass"))
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
