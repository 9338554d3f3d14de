"""Reading and writing files: atomic writes, JSON, and append-only logs with one JSON object per line."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from babelguard.errors import UserError, cannot_write


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Returns an empty dict if the file is missing or does not hold an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


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
    """Write a text file atomically: the old file stays in place until the new one is complete.

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


class JsonlLog:
    """An append-only log of JSON objects, indexed by their field `key`.

    If the process was killed while writing, the incomplete last line is removed when the log is opened.

    Args:
        path: The file. It is created on the first write.
        read_only: Do not repair the file, because another run may be writing to it.

    Raises:
        UserError: If a line is damaged, or the file cannot be read or repaired.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror or error}); make it readable, then run the same command again."
            ) from error
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = json.loads(line)
                self.rows[row["key"]] = row
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(
                    f"Line {number} of {path} is damaged; delete that line, then run the same command again to recreate it."
                ) from error
        if len(whole) < len(content) and not read_only:
            with self._opened() as file:
                file.truncate(len(whole))

    def get(self, key: str) -> Mapping[str, Any] | None:
        """Return the row with this key, or None."""
        return self.rows.get(key)

    def create(self) -> None:
        """Create the file if it does not exist, to detect early that it cannot be written.

        Raises:
            UserError: If the file cannot be written.
        """
        with self._opened():
            pass

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows whose keys are new, and flush them to disk.

        Raises:
            UserError: If the disk is full or the file cannot be written.
        """
        fresh = [row for row in rows if row["key"] not in self.rows]
        if not fresh:
            return
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in fresh)
        with self._opened() as file:
            file.write(text.encode("utf-8", "surrogatepass"))
            file.flush()
            os.fsync(file.fileno())
        self.rows.update({row["key"]: row for row in fresh})

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Open the file for appending. If writing fails, what was appended is removed."""
        size = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                size = file.tell()
                yield file
        except OSError as error:
            if size is not None:  # do not leave half a batch
                os.truncate(self.path, size)
            raise UserError(_explain(self.path, error)) from error


def _explain(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return cannot_write(path, error)
    return (
        f"{path} could not be written ({error.strerror or error}); make it writable or choose another `output`, then run "
        "the same command again."
    )
