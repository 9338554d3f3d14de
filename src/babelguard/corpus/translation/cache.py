"""Cache of finished translations, so that no text is translated twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from babelguard.corpus.translation.base import Engine, Status, Translation
from babelguard.files import JsonlLog, LogRow


class CacheRow(LogRow):
    """A line of the cache: a translation and its status. The other fields say where it comes from."""

    translation: str
    status: Status
    detail: str


class Cache:
    """An append-only JSONL file. Errors are not stored.

    What an engine returned instead of a translation (a refusal, the source, nothing) is stored for the review file, but it is
    not `settled`, so the same command sends the text again.

    Args:
        path: The file. An incomplete last line is removed.

    Raises:
        UserError: If the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._log = JsonlLog(path, CacheRow)

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

    def settled(self, engine: Engine, text: str, source: str, target: str) -> bool:
        """Whether a translation of a text is stored."""
        found = self.get(engine, text, source, target)
        return found is not None and found.status == "ok"

    def add(self, engine: Engine, source: str, target: str, made: Iterable[tuple[str, Translation]]) -> None:
        """Store translations, each with its source text, and flush them to disk.

        Raises:
            UserError: If the disk is full or the file cannot be written.
        """
        rows = [
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
        ]
        self._log.append(rows, replace=True)
