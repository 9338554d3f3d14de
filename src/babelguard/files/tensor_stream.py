"""Write a safetensors file piece by piece, so that tensors need not be in memory together.

The library writes a file from tensors that are all in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

# Bits of a number in the formats that are at least one byte wide, for the order of tensors.
_WIDE = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


class Piece(NamedTuple):
    """A tensor to write.

    Attributes:
        name: Its name.
        form: Its number format as safetensors names it, such as BF16.
        shape: Its shape.
        size: Its size in bytes.
        blocks: Returns its bytes.
    """

    name: str
    form: str
    shape: tuple[int, ...]
    size: int
    blocks: Callable[[], Iterable[bytes | memoryview]]


def write_pieces(path: Path, pieces: Sequence[Piece], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file.

    Args:
        path: The file. It must not exist.
        pieces: The tensors.
        metadata: Texts of the header.

    Raises:
        OSError: If the file cannot be written, or a tensor has another size than its piece says.
    """
    # Tensors of wide numbers come first, so that all are aligned.
    ordered = sorted(pieces, key=lambda piece: -_WIDE.get(piece.form, 1))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for piece in ordered:
        end = offset + piece.size
        header[piece.name] = {"dtype": piece.form, "shape": list(piece.shape), "data_offsets": [offset, end]}
        offset = end
    content = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    with path.open("xb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        for piece in ordered:
            written = sum(file.write(block) for block in piece.blocks())
            if written != piece.size:
                raise OSError(f"{piece.name} has {written} bytes instead of {piece.size}")
        file.flush()
        os.fsync(file.fileno())
