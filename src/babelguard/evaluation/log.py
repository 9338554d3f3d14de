"""Append-only logs of a run: one JSON object a line, written as soon as a batch is done, and read again to resume."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from babelguard.errors import UserError


class JsonlLog:
    """A log keyed by the field `key`. A last line cut off by a kill is dropped when the log is opened.

    Args:
        path: The file; it is made if it does not exist.
        read_only: Leave the file as it is: it belongs to another run, which may be writing to it.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if not path.exists():
            return
        content = path.read_bytes()
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
            with path.open("r+b") as file:
                file.truncate(len(whole))

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The row of that key, or None."""
        return self.rows.get(key)

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows and have them on the disk before this returns.

        Raises:
            UserError: where the disk is full or the file cannot be written.
        """
        fresh = [row for row in rows if row["key"] not in self.rows]
        if not fresh:
            return
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in fresh)
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(text.encode("utf-8", "surrogatepass"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if self.path.exists():  # never leave half a batch behind
                os.truncate(self.path, size)
            raise UserError(
                f"{self.path} could not be written ({error.strerror or error}); nothing that was done is lost: free some "
                "space and give the same command again."
            ) from error
        self.rows.update({row["key"]: row for row in fresh})
