"""The job: translate there and back, check, take corrections over, and write the multilingual file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from babelguard.corpus import Row, load_prompts
from babelguard.corpus.schema import INDONESIAN
from babelguard.errors import UserError
from babelguard.languages import display_name, language
from babelguard.run_folder import write_text
from babelguard.screen import Screen, Tick
from babelguard.translation import checks, summary
from babelguard.translation.cache import Cache
from babelguard.translation.engine import Engine, EngineFailed, Translation
from babelguard.translation.pool import run_all
from babelguard.translation.result import Cell, corpus_rows, flag_cells
from babelguard.translation.review import merge, read_review, review_text

# So many requests one after another without any answer: the endpoint is gone, not a single text at fault.
_IN_VAIN = 5
_OURS = ("translations.jsonl", "review.csv", "prompts.jsonl", "report.md")


@dataclass(frozen=True)
class _Request:
    """Texts that are sent together."""

    source: str
    target: str
    texts: tuple[str, ...]


def read_source(path: Path, to: Sequence[str]) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The rows of a file and the codes to translate into.

    Raises:
        UserError: for a mistake in the file, a file without English, and languages that are unknown, English or in
            the file already.
    """
    codes = tuple(dict.fromkeys("id" if code == INDONESIAN else language(code).code for code in to))
    if not codes:
        raise UserError("No language is named; give --to such as ko,da.")
    found = load_prompts(path)
    if "en" not in found.languages:
        raise UserError(f"The file {path} has no column 'en'; translations start from English.")
    for code in codes:
        if code in found.languages:
            why = "is what is translated from" if code == "en" else f"stands in {path} already"
            raise UserError(f"{display_name(code)} {why}; leave it out of --to.")
    return found.rows, codes


class Job:
    """A translation of one file.

    Args:
        path: CSV or JSONL with id, label and en.
        to: Codes to translate into.
        engine: Who translates.
        output: Folder; the same command continues in it.
        min_chrf: Below it a back-translation is flagged, 0 to 100.
        screen: Shows what is going on.

    Raises:
        UserError: for whatever a user can mend, before anything is sent.
    """

    def __init__(
        self, path: Path, to: Sequence[str], engine: Engine, output: Path, *, min_chrf: float, screen: Screen
    ) -> None:
        self.rows, self.codes = read_source(path, to)
        self.path, self.engine, self.output = path, engine, output
        self.min_chrf, self.screen = min_chrf, screen
        engine.check((*self.codes, "en"))
        checks.need_sacrebleu()
        if output.exists() and not output.is_dir():
            raise UserError(f"The output {output} is a file, not a folder; choose another --output.")
        if output.is_dir() and any(output.iterdir()) and not any((output / name).exists() for name in _OURS):
            raise UserError(f"The output folder {output} holds files that are no translation; choose another --output.")
        read_review(output / "review.csv")  # a mistake in it shall be told now, not at the end
        self.cache = Cache(output / "translations.jsonl")
        self._errors: dict[str, Translation] = {}
        self._in_vain = 0

    def plan(self) -> None:
        """Say what there is to do: rows, languages, requests, characters, licence."""
        engine, count = self.engine, len(self.codes)
        texts = [row.texts["en"] for row in self.rows]
        forward = {code: self._pending(texts, "en", code) for code in self.codes}
        done = sum(len(texts) - len(found) for found in forward.values())
        back = {code: len(found) + len(self._back_pending(code)) for code, found in forward.items()}
        requests = sum(
            math.ceil(size / engine.batch) for code in self.codes for size in (len(forward[code]), back[code])
        )
        # A text and its back-translation are about as long as each other.
        characters = sum(map(len, texts)) * (sum(map(len, forward.values())) + sum(back.values())) // max(1, len(texts))
        self.screen.title(f"{self.path.name}: {len(texts)} rows x {count} {'language' if count == 1 else 'languages'}")
        self.screen.say(f"  into       {', '.join(display_name(code) for code in self.codes)}")
        self.screen.say(f"  by         {engine.model} (engine {engine.name}), licence: {engine.licence}")
        if place := getattr(engine, "place", ""):
            self.screen.say(f"  sent to    {place}")
        self.screen.say(f"  to do      {len(texts) * count - done} of {len(texts) * count} texts, there and back")
        if requests:
            self.screen.say(
                f"  requests   about {requests:,} of up to {engine.batch} texts, {engine.parallel} at a time, some "
                f"{characters:,} characters of text"
            )
        self.screen.say(f"  output     {self.output}")
        for notice in engine.notices:
            self.screen.say(f"  NOTE       {notice}")

    def run(self) -> None:
        """Do what is not done yet, and write the files.

        Raises:
            UserError: where no request can succeed or a file cannot be written; the same command continues.
        """
        self.plan()
        texts = [row.texts["en"] for row in self.rows]
        asked = 0
        try:
            asked += self._translate("Translating", [(code, texts) for code in self.codes], back=False)
            again = [(code, self._forward_texts(code)) for code in self.codes]
            asked += self._translate("Translating back", again, back=True)
        finally:
            self.engine.close()
        if not asked:
            self.screen.say("Everything is translated already.")
        self._write(asked)

    def _pending(self, texts: Iterable[str], source: str, target: str) -> list[str]:
        """Texts that the cache does not hold, each once."""
        return [text for text in dict.fromkeys(texts) if self.cache.get(self.engine, text, source, target) is None]

    def _back_pending(self, code: str) -> list[str]:
        return self._pending(self._forward_texts(code), code, "en")

    def _forward_texts(self, code: str) -> list[str]:
        made = (self._made(row.texts["en"], "en", code) for row in self.rows)
        return [found.text for found in made if found.status == "ok"]

    def _made(self, text: str, source: str, target: str) -> Translation:
        found = self.cache.get(self.engine, text, source, target)
        missing = Translation("", "error", "not translated yet")
        return found or self._errors.get(Cache.key(self.engine, text, source, target), missing)

    def _translate(self, what: str, wanted: Sequence[tuple[str, Sequence[str]]], *, back: bool) -> int:
        """Ask for what is missing; returns how many texts that were."""
        requests: list[_Request] = []
        size = self.engine.batch
        for code, texts in wanted:
            source, target = (code, "en") if back else ("en", code)
            pending = self._pending(texts, source, target)
            requests += [
                _Request(source, target, tuple(pending[start : start + size])) for start in range(0, len(pending), size)
            ]
        total = sum(len(request.texts) for request in requests)
        if not total:
            return 0
        with self.screen.progress(what) as (tick, _):
            tick(0, total)
            self._run_requests(requests, total, tick)
        return total

    def _run_requests(self, requests: Sequence[_Request], total: int, tick: Tick) -> None:
        done = 0

        def ask(request: _Request) -> list[Translation]:
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

        run_all(requests, ask, handle, self.engine.parallel)

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

    def _write(self, asked: int) -> None:
        # Read as late as possible: a person may have written into it while the machine worked.
        found = read_review(self.output / "review.csv")
        cells: dict[str, list[Cell]] = {}
        for code in self.codes:
            cells[code] = []
            for row in self.rows:
                machine = self._made(row.texts["en"], "en", code)
                back = self._made(machine.text, code, "en") if machine.status == "ok" else None
                cells[code].append(Cell(row, code, machine, back, found.get((row.id, code))))
            flag_cells(cells[code], self.min_chrf)
        written, left = corpus_rows(self.rows, cells, self.engine)
        reviewed = merge((column[k].review_row() for k in range(len(self.rows)) for column in cells.values()), found)
        prompts = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in written)
        changed = [
            self._put("review.csv", review_text(reviewed)),
            self._put("prompts.jsonl", prompts),
            self._put(
                "report.md",
                summary.report(self.path.name, cells, left, len(written), self.engine, self.min_chrf),
            ),
        ]
        self.screen.show(summary.table(cells))
        self.screen.say(f"{len(written)} of {len(self.rows)} rows have every language.")
        if left:
            self.screen.say(f"Left out: {len(left)} ({summary.reasons(left)}); report.md names them.")
        if not asked and not any(changed):
            self.screen.say("Nothing had to be done.")
        if not written:
            self.screen.say("No row has every language, so there is no prompts.jsonl; see review.csv.")
        names = [name for name in _OURS[1:] if (self.output / name).exists()]
        self.screen.say("Made  " + "  ".join(str(self.output / name) for name in names))

    def _put(self, name: str, text: str) -> bool:
        """Write a file unless it holds just that; an empty one is none. Returns whether something changed."""
        path = self.output / name
        if not text:
            path.unlink(missing_ok=True)
            return False
        if path.exists() and path.read_bytes() == text.encode():
            return False
        write_text(path, text)
        return True
