"""Append-only logs with one JSON object per line."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from babelguard.errors import UserError, cannot_write
from babelguard.files.parsing import json_fault, parse_json, unique_keys
from babelguard.files.records import LogRow, reason
from babelguard.files.text import FileFault, read_bytes


class JsonlLog:
    """An append-only log of JSON objects, indexed by their field `key`.

    If the process was killed while writing, the incomplete last line is ignored, and removed at the next write.

    Args:
        path: The file. It is created on the first write.
        kind: The model of a line.
        advice: What to do if a line is damaged; default: delete it.

    Raises:
        UserError: If a line is damaged, or the file cannot be read.
    """

    def __init__(self, path: Path, kind: type[LogRow] = LogRow, advice: str | None = None) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self._cut: int | None = None
        try:
            content = read_bytes(path)
        except FileFault as error:
            if error.missing:
                return
            raise error.in_run(advice) from error
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
            try:
                row = parse_json(line.decode("utf-8"), pairs=unique_keys)
                self.rows[kind.model_validate(row).key] = row
            except ValueError as error:  # also of the decoder and of pydantic
                raise UserError(
                    f"Line {number} of {path} is damaged ({_fault(error)}); "
                    f"{advice or 'delete that line, then run the same command again to recreate it'}."
                ) from error
        # Removed at the next write, because another process may be writing the line.
        self._cut = len(whole) if len(whole) < len(content) else None

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

    def append(self, rows: Iterable[dict[str, Any]], *, replace: bool = False) -> None:
        """Write rows whose keys are new, and flush them to disk.

        Args:
            rows: The rows.
            replace: Also write rows that differ from the row with the same key. The last one counts.

        Raises:
            UserError: If the disk is full or the file cannot be written.
        """
        fresh = [row for row in rows if row["key"] not in self.rows or (replace and self.rows[row["key"]] != row)]
        if not fresh:
            return
        # A lone surrogate, which a service may send, cannot be written.
        lines = [json.dumps(row, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8") for row in fresh]
        text = "".join(line + "\n" for line in lines)
        with self._opened() as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        self.rows.update({row["key"]: row for row in map(json.loads, lines)})

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Open the file for appending. If writing fails, what was appended is removed."""
        size = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab", opener=_not_a_link) as file:
                if self._cut is not None:
                    file.truncate(self._cut)
                    self._cut = None
                size = file.seek(0, os.SEEK_END)
                yield file
        except OSError as error:
            if size is not None:  # do not leave half a batch
                os.truncate(self.path, size)
            raise UserError(_explain(self.path, error)) from error


def _not_a_link(path: str, flags: int) -> int:
    """Open a file. What a link points to is not changed, because it may be a file of the user."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _explain(path: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return f"{path} is a link; replace it with the file itself, then run the same command again."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return cannot_write(path, error)
    return (
        f"{path} could not be written ({error.strerror or error}); make it writable or choose another `output`, then run "
        "the same command again."
    )


def _fault(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return reason(error)
    return "this is not UTF-8" if isinstance(error, UnicodeDecodeError) else json_fault(error)
