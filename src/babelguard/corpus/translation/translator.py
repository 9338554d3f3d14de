"""Translate the texts that are not in the cache. Failed requests are split into smaller ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from babelguard.corpus.translation.base import Engine, EngineFailed, Translation
from babelguard.corpus.translation.cache import Cache
from babelguard.endpoint import run_all
from babelguard.errors import UserError
from babelguard.screen import Screen, Tick

# After this many requests in a row without an answer, the endpoint is considered down.
_MAX_FAILURES = 5


@dataclass(frozen=True)
class _Request:
    """Texts that are sent together."""

    source: str
    target: str
    texts: tuple[str, ...]


class Translator:
    """An engine with a cache.

    Args:
        engine: The engine.
        cache: Cache of earlier translations. New ones are added as soon as they arrive.
    """

    def __init__(self, engine: Engine, cache: Cache) -> None:
        self.engine, self.cache = engine, cache
        self._errors: dict[str, Translation] = {}
        self._failures = 0

    def missing(self, texts: Iterable[str], source: str, target: str) -> list[str]:
        """Return the texts whose translation is not in the cache, without repetitions."""
        return [text for text in dict.fromkeys(texts) if not self.cache.settled(self.engine, text, source, target)]

    def tried(self, text: str, source: str, target: str) -> bool:
        """Whether the engine returned anything for a text, in this or an earlier command."""
        return self.cache.get(self.engine, text, source, target) is not None

    def result(self, text: str, source: str, target: str) -> Translation:
        """Return the translation of a text from the cache. If there is none, return its error."""
        found = self.cache.get(self.engine, text, source, target)
        missing = Translation("", "error", "not translated yet")
        return found or self._errors.get(Cache.key(self.engine, text, source, target), missing)

    def translate(self, what: str, wanted: Iterable[tuple[str, str, Sequence[str]]], screen: Screen) -> int:
        """Translate all texts that are not in the cache.

        Args:
            what: Label of the progress bar.
            wanted: Source language, target language and texts.
            screen: Where progress is shown.

        Returns:
            The number of texts that were not in the cache.

        Raises:
            UserError: If no request can succeed, the endpoint stopped answering, or the cache cannot be written.
        """
        requests: list[_Request] = []
        size = self.engine.batch
        for source, target, texts in wanted:
            missing = self.missing(texts, source, target)
            requests += [
                _Request(source, target, tuple(missing[start : start + size])) for start in range(0, len(missing), size)
            ]
        total = sum(len(request.texts) for request in requests)
        if total:
            self.cache.create()
            with screen.progress(what) as (tick, _):
                tick(0, total)
                self._run(requests, total, tick)
        return total

    def _run(self, requests: Sequence[_Request], total: int, tick: Tick) -> None:
        done = 0

        def send(request: _Request) -> list[Translation]:
            return self.engine.translate(request.texts, request.source, request.target)

        def handle(request: _Request, result: list[Translation] | Exception) -> list[_Request]:
            nonlocal done
            finished, again = self._split(request, result)
            self.cache.add(self.engine, request.source, request.target, finished)
            for text, given in finished:
                if given.status == "error":
                    self._errors[Cache.key(self.engine, text, request.source, request.target)] = given
            done += len(finished)
            tick(done, total)
            return again

        run_all(requests, send, handle, self.engine.parallel)

    def _split(
        self, request: _Request, result: list[Translation] | Exception
    ) -> tuple[list[tuple[str, Translation]], list[_Request]]:
        """Split a result into finished texts and smaller requests for the other texts."""
        texts = request.texts
        if isinstance(result, EngineFailed):
            self._failures = self._failures + 1 if result.lost else 0
            if self._failures >= _MAX_FAILURES:
                raise UserError(
                    f"The last {_MAX_FAILURES} requests failed ({str(result).rstrip('.')}); finished work is kept: fix "
                    "the endpoint, then run the same command again."
                )
            if len(texts) == 1:
                return [(texts[0], Translation("", "error", str(result)))], []
            half = len(texts) // 2
            return [], [_Request(request.source, request.target, part) for part in (texts[:half], texts[half:])]
        if isinstance(result, Exception):
            raise result
        self._failures = 0
        pairs = list(zip(texts, result, strict=True))
        if len(texts) == 1 or not self.engine.retries_alone:
            return pairs, []
        alone = [text for text, given in pairs if given.status != "ok"]
        return (
            [pair for pair in pairs if pair[1].status == "ok"],
            [_Request(request.source, request.target, (text,)) for text in alone],
        )
