"""Copy the weights of a model with some tensors changed, in the memory of one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from babelguard.files import write_json
from babelguard.files.tensor_stream import Piece, write_pieces
from babelguard.models.stored import FORMATS, INDEX, Entry, StoredWeights
from babelguard.screen import Screen

NAMES = {dtype: form for form, dtype in FORMATS.items()}


class Change(NamedTuple):
    """A tensor that is not copied.

    Attributes:
        shape: Its shape.
        dtype: Its dtype.
        make: Returns it.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    make: Callable[[], Tensor]


class Plan:
    """The files of a copy: what they hold, and their sizes.

    Args:
        weights: The weights to copy.
        changes: Tensors with another content, and new ones, by name.
        beside: The tensor whose file the new ones are written to.
        dtype: Convert all numbers that are not packed to this dtype. By default, they are copied as they are.
    """

    def __init__(
        self, weights: StoredWeights, changes: Mapping[str, Change], beside: str, dtype: torch.dtype | None = None
    ) -> None:
        self.weights, self.dtype = weights, dtype
        self.files: dict[str, list[Piece]] = {
            shard: [
                _made(name, changes[name]) if name in changes else self._copied(name, weights.entries[name])
                for name in names
            ]
            for shard, names in weights.shards.items()
        }
        self.files[weights.entries[beside].shard] += [
            _made(name, change) for name, change in changes.items() if name not in weights.entries
        ]

    @property
    def size(self) -> int:
        """The size of all tensors in bytes."""
        return sum(piece.size for pieces in self.files.values() for piece in pieces)

    def write(self, folder: Path, screen: Screen) -> None:
        """Write the files, and an index if there are several.

        Raises:
            OSError: If the disk is full or the folder cannot be written.
        """
        for number, (shard, pieces) in enumerate(self.files.items(), start=1):
            screen.say(f"  writing {shard} ({number} of {len(self.files)})")
            write_pieces(folder / shard, pieces, self.weights.metadata[shard])
        if len(self.files) > 1:
            places = {piece.name: shard for shard, pieces in self.files.items() for piece in pieces}
            index = {"metadata": {"total_size": self.size}, "weight_map": dict(sorted(places.items()))}
            write_json(folder / INDEX, index)

    def _copied(self, name: str, entry: Entry) -> Piece:
        stored = FORMATS.get(entry.form)
        if self.dtype is None or stored is None or stored == self.dtype:
            return Piece(name, entry.form, entry.shape, entry.end - entry.begin, lambda: self.weights.blocks(name))
        dtype = self.dtype
        return _made(name, Change(entry.shape, dtype, lambda: self.weights.read(name).to(dtype)))


def _made(name: str, change: Change) -> Piece:
    size = torch.Size(change.shape).numel() * change.dtype.itemsize

    def blocks() -> Iterable[bytes | memoryview]:
        tensor = change.make()
        if tuple(tensor.shape) != change.shape or tensor.dtype != change.dtype:
            raise OSError(f"{name} is {tuple(tensor.shape)} {tensor.dtype} instead of {change.shape} {change.dtype}")
        return [tensor.contiguous().flatten().view(torch.uint8).numpy().data]  # a view of the tensor's memory

    return Piece(name, NAMES[change.dtype], change.shape, size, blocks)
