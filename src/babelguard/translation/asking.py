"""Asking an engine for what the cache does not hold: requests, their halves, and what came to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from babelguard.errors import UserError
from babelguard.screen import Screen, Tick
from babelguard.translation.cache import Cache
from babelguard.translation.engine import Engine, EngineFailed, Translation
from babelguard.translation.pool import run_all

# So many requests one after another without any answer: the endpoint is gone, not a single text at fault.
_IN_VAIN = 5


@dataclass(frozen=True)
class _Request:
    """Texts that are sent together."""

    source: str
    target: str
    texts: tuple[str, ...]


class Asker:
    """An engine behind its cache.

    Args:
        engine: Who translates.
        cache: What was translated before; everything that comes back goes there at once.
    """

    def __init__(self, engine: Engine, cache: Cache) -> None:
        self.engine, self.cache = engine, cache
        self._errors: dict[str, Translation] = {}
        self._in_vain = 0

    def pending(self, texts: Iterable[str], source: str, target: str) -> list[str]:
        """Texts that the cache does not hold, each once."""
        return [text for text in dict.fromkeys(texts) if self.cache.get(self.engine, text, source, target) is None]

    def made(self, text: str, source: str, target: str) -> Translation:
        """What came of a text: from the cache, or why it is not there."""
        found = self.cache.get(self.engine, text, source, target)
        missing = Translation("", "error", "not translated yet")
        return found or self._errors.get(Cache.key(self.engine, text, source, target), missing)

    def ask(self, what: str, wanted: Iterable[tuple[str, str, Sequence[str]]], screen: Screen) -> int:
        """Ask for what is missing.

        Args:
            what: Stands in front of the progress bar.
            wanted: Source, target and texts.
            screen: Shows the progress.

        Returns:
            How many texts were missing.

        Raises:
            UserError: where no request can succeed, the last ones had no answer, or what comes back cannot be written.
        """
        requests: list[_Request] = []
        size = self.engine.batch
        for source, target, texts in wanted:
            pending = self.pending(texts, source, target)
            requests += [
                _Request(source, target, tuple(pending[start : start + size])) for start in range(0, len(pending), size)
            ]
        total = sum(len(request.texts) for request in requests)
        if total:
            self.cache.make()
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
            made, more = self._sort(request, result)
            self.cache.add(self.engine, request.source, request.target, made)
            for text, given in made:
                if given.status == "error":
                    self._errors[Cache.key(self.engine, text, request.source, request.target)] = given
            done += len(made)
            tick(done, total)
            return more

        run_all(requests, send, handle, self.engine.parallel)

    def _sort(
        self, request: _Request, result: list[Translation] | Exception
    ) -> tuple[list[tuple[str, Translation]], list[_Request]]:
        """What is settled, and what is to be asked again in smaller requests."""
        texts = request.texts
        if isinstance(result, EngineFailed):
            self._in_vain = self._in_vain + 1 if result.lost else 0
            if self._in_vain >= _IN_VAIN:
                raise UserError(
                    f"The last {_IN_VAIN} requests were in vain ({str(result).rstrip('.')}); nothing that was done is "
                    "lost: give the same command again when that is mended."
                )
            if len(texts) == 1:
                return [(texts[0], Translation("", "error", str(result)))], []
            half = len(texts) // 2
            return [], [_Request(request.source, request.target, part) for part in (texts[:half], texts[half:])]
        if isinstance(result, Exception):
            raise result
        self._in_vain = 0
        pairs = list(zip(texts, result, strict=True))
        if len(texts) == 1 or not self.engine.retries_alone:
            return pairs, []
        alone = [text for text, given in pairs if given.status != "ok"]
        return (
            [pair for pair in pairs if pair[1].status == "ok"],
            [_Request(request.source, request.target, (text,)) for text in alone],
        )
