"""The weights of a model on disk, read tensor by tensor."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from babelguard.errors import UserError, damaged
from babelguard.files import read_record
from babelguard.models.weight_files import ADVICE, ShardIndex

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
# Number formats by their names in safetensors files.
FORMATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


class Entry(NamedTuple):
    """A tensor in a file.

    Attributes:
        shard: The name of the file.
        shape: Its shape.
        form: Its number format as safetensors names it, such as BF16.
        begin: Where its bytes begin in the file.
        end: Where they end.
    """

    shard: str
    shape: tuple[int, ...]
    form: str
    begin: int
    end: int


class StoredWeights:
    """The tensors of a model folder by name. Only headers are read until a tensor is asked for.

    Args:
        folder: A model folder with safetensors files.

    Attributes:
        folder: The folder.
        entries: Where each tensor is, in the order of the files.
        metadata: The metadata of each file.

    Raises:
        UserError: If it has no safetensors files, or one of them is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        for shard in _shards(folder):
            with self._open(shard):  # safetensors validates the header
                header, start = _header(folder / shard)
            self.metadata[shard] = header.pop("__metadata__", {})
            for name, one in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
                begin, end = one["data_offsets"]
                self.entries[name] = Entry(shard, tuple(one["shape"]), one["dtype"], start + begin, start + end)

    @property
    def shards(self) -> Mapping[str, list[str]]:
        """The names of the tensors of each file."""
        found: dict[str, list[str]] = {shard: [] for shard in self.metadata}
        for name, entry in self.entries.items():
            found[entry.shard].append(name)
        return found

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum((self.folder / shard).stat().st_size for shard in self.metadata)

    def read(self, name: str) -> Tensor:
        """Read one tensor."""
        with self._open(self.entries[name].shard) as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor

    def blocks(self, name: str, size: int = 1 << 22) -> Iterator[bytes]:
        """Yield the bytes of a tensor of any number format.

        Raises:
            OSError: If the file cannot be read.
        """
        entry = self.entries[name]
        with (self.folder / entry.shard).open("rb") as file:
            file.seek(entry.begin)
            left = entry.end - entry.begin
            while left > 0 and (block := file.read(min(size, left))):
                left -= len(block)
                yield block

    def rows(self, name: str, ids: Sequence[int]) -> Tensor:
        """Read some rows of a matrix, [len(ids), ...]. The rest of the matrix is not read."""
        with self._open(self.entries[name].shard) as file:
            part = file.get_slice(name)
            return torch.cat([part[i : i + 1] for i in ids])

    @contextmanager
    def _open(self, shard: str) -> Iterator[Any]:
        path = self.folder / shard
        try:
            with path.open("rb"), safe_open(path, framework="pt") as file:
                yield file
        except UserError:
            raise
        except Exception as error:  # of safetensors, of torch and of the operating system
            why = getattr(error, "strerror", None) or " ".join(str(error).split())[:200].rstrip(".")
            raise UserError(damaged(path, why or type(error).__name__, ADVICE)) from error


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and where the tensors begin."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), 8 + length


def _shards(folder: Path) -> list[str]:
    if (folder / SINGLE).is_file():
        return [SINGLE]
    index = read_record(folder / INDEX, ShardIndex, ADVICE)
    if index is None:
        raise UserError(
            f"The model in {folder} has no {SINGLE}; load it with transformers, save it with save_pretrained, and give that "
            "folder as `model`."
        )
    return sorted(set(index.weight_map.values()))
