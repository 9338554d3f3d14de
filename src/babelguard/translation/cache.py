"""Translations that were made, by content: what was paid for once is never asked for again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from babelguard.errors import UserError
from babelguard.evaluation.log import JsonlLog
from babelguard.translation.engine import Engine, Translation


class Cache:
    """An append-only JSONL file. Errors are not kept, so that the same command tries those texts again.

    Args:
        path: The file; a last line that a kill cut off is dropped.

    Raises:
        UserError: for a damaged file.
    """

    def __init__(self, path: Path) -> None:
        self._log = JsonlLog(path)
        for row in self._log.rows.values():
            if not {"translation", "status", "detail"} <= row.keys():
                raise UserError(f"{path} holds a row that is no translation ({row['key']!r}); delete that line.")

    def make(self) -> None:
        """Make the file before anything is paid for.

        Raises:
            UserError: where it cannot be written.
        """
        self._log.make()

    @staticmethod
    def key(engine: Engine, text: str, source: str, target: str) -> str:
        """The name of a translation: everything that it depends on, hashed."""
        parts = [engine.name, engine.model, engine.version, source, target, text]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()

    def get(self, engine: Engine, text: str, source: str, target: str) -> Translation | None:
        """A translation that was made before, or None."""
        row = self._log.get(self.key(engine, text, source, target))
        return None if row is None else Translation(row["translation"], row["status"], row["detail"])

    def add(self, engine: Engine, source: str, target: str, made: Iterable[tuple[str, Translation]]) -> None:
        """Write translations, each with its source text, and have them on the disk before this returns.

        Raises:
            UserError: where the disk is full or the file cannot be written.
        """
        self._log.append(
            {
                "key": self.key(engine, text, source, target),
                "engine": engine.name,
                "model": engine.model,
                "version": engine.version,
                "licence": engine.licence,
                "from": source,
                "to": target,
                "text": text,
                "translation": given.text,
                "status": given.status,
                "detail": given.detail,
            }
            for text, given in made
            if given.status != "error"
        )
