"""Append-only logs of a run: one JSON object a line, written as soon as a batch is done, and read again to resume."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from babelguard.errors import UserError, cannot_write


class JsonlLog:
    """A log keyed by the field `key`. A last line cut off by a kill is dropped when the log is opened.

    Args:
        path: The file; it is made if it does not exist.
        read_only: Leave the file as it is: it belongs to another run, which may be writing to it.

    Raises:
        UserError: for a damaged line, and where the file cannot be read or mended.
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
                f"{path} cannot be read ({error.strerror or error}); make it readable and give the same command again."
            ) from error
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = json.loads(line)
                self.rows[row["key"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"Line {number} of {path} is damaged; delete that line, and the same command will make it again."
                ) from error
        if len(whole) < len(content) and not read_only:
            with self._opened() as file:
                file.truncate(len(whole))

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The row of that key, or None."""
        return self.rows.get(key)

    def make(self) -> None:
        """Make the file where there is none, so that one that cannot be written is told before there is something to write.

        Raises:
            UserError: where it cannot be written.
        """
        with self._opened():
            pass

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows and have them on the disk before this returns.

        Raises:
            UserError: where the disk is full or the file cannot be written.
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
        """The file at its end, made where there is none."""
        size = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                size = file.tell()
                yield file
        except OSError as error:
            if size is not None:  # never leave half a batch behind
                os.truncate(self.path, size)
            raise UserError(_explain(self.path, error)) from error


def _explain(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return cannot_write(path, error)
    return (
        f"{path} could not be written ({error.strerror or error}); make it writable or choose another --output, and give "
        "the same command again."
    )
