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
    """Write a text file atomically.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        sync(draft)
        os.replace(draft, path)
    except OSError as error:
        raise UserError(cannot_write(path, error)) from error


def sync(path: Path) -> None:
    """Flush a file to disk, so that after a power cut either the old or the new file is complete."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
