"""Atomic writes: the old file stays in place until the new one is complete."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from babelguard.errors import UserError, cannot_write


def as_json(content: Any) -> str:
    """Format `content` the way babelguard writes JSON files."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    write_text(path, as_json(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 atomically.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically. After a power cut, either the old or the new file is complete.

    A link in the place of the file or of its draft is replaced, and the file that it points to is left alone.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        # Mode x never opens what is there, also not through a link.
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise UserError(cannot_write(path, error)) from error
