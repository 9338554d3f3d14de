"""Cache of finished translations, so that no text is translated twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from babelguard.corpus.translation.base import Engine, Translation
from babelguard.errors import UserError
from babelguard.files import JsonlLog


class Cache:
    """An append-only JSONL file. Errors are not stored, so the same command tries those texts again.

    Args:
        path: The file. An incomplete last line is removed.

    Raises:
        UserError: If the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._log = JsonlLog(path)
        for row in self._log.rows.values():
            if not {"translation", "status", "detail"} <= row.keys():
                raise UserError(f"{path} contains a row that is not a translation ({row['key']!r}); delete this line.")

    def create(self) -> None:
        """Create the file, to detect before the first request that it cannot be written.

        Raises:
            UserError: If the file cannot be written.
        """
        self._log.create()

    @staticmethod
    def key(engine: Engine, text: str, source: str, target: str) -> str:
        """Return the key of a translation: a hash of everything that it depends on."""
        parts = [engine.name, engine.model, engine.version, source, target, text]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()

    def get(self, engine: Engine, text: str, source: str, target: str) -> Translation | None:
        """Return a stored translation, or None."""
        row = self._log.get(self.key(engine, text, source, target))
        return None if row is None else Translation(row["translation"], row["status"], row["detail"])

    def add(self, engine: Engine, source: str, target: str, made: Iterable[tuple[str, Translation]]) -> None:
        """Store translations, each with its source text, and flush them to disk.

        Raises:
            UserError: If the disk is full or the file cannot be written.
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
