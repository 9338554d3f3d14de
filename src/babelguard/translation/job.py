"""The job: translate there and back, check, take corrections over, and write the multilingual file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from babelguard.corpus import Row, load_prompts
from babelguard.corpus.schema import INDONESIAN
from babelguard.errors import UserError
from babelguard.languages import display_name, language
from babelguard.run_folder import write_text
from babelguard.screen import Screen
from babelguard.translation import checks, summary
from babelguard.translation.asking import Asker
from babelguard.translation.cache import Cache
from babelguard.translation.engine import Engine
from babelguard.translation.folder import OURS, check_output
from babelguard.translation.result import Cell, corpus_rows, flag_cells
from babelguard.translation.review import ReviewRow, merge, read_review, review_text


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
        check_output(output, path, self.rows, self.codes)
        self.asker = Asker(engine, Cache(output / "translations.jsonl"))

    def plan(self) -> None:
        """Say what there is to do: rows, languages, requests, characters, licence."""
        engine, count = self.engine, len(self.codes)
        texts = [row.texts["en"] for row in self.rows]
        forward = {code: self.asker.pending(texts, "en", code) for code in self.codes}
        done = sum(len(texts) - len(found) for found in forward.values())
        back = {
            code: len(found) + len(self.asker.pending(self._forward_texts(code), code, "en"))
            for code, found in forward.items()
        }
        requests = sum(
            math.ceil(size / engine.batch) for code in self.codes for size in (len(forward[code]), back[code])
        )
        # A text and its back-translation are about as long as each other.
        characters = sum(map(len, texts)) * (sum(map(len, forward.values())) + sum(back.values())) // max(1, len(texts))
        self.screen.title(f"{len(texts)} rows x {count} {'language' if count == 1 else 'languages'}")
        self.screen.say(f"  from       {self.path.name}")
        self.screen.say(f"  into       {', '.join(display_name(code) for code in self.codes)}")
        self.screen.say(f"  by         {engine.model} (engine {engine.name}), licence: {engine.licence}")
        if engine.place:
            self.screen.say(f"  sent to    {engine.place}")
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
        try:
            asked = self.asker.ask("Translating", [("en", code, texts) for code in self.codes], self.screen)
            back = [(code, "en", self._forward_texts(code)) for code in self.codes]
            asked += self.asker.ask("Translating back", back, self.screen)
        finally:
            self.engine.close()
        if not asked:
            self.screen.say("Everything is translated already.")
        self._write(asked)

    def _forward_texts(self, code: str) -> list[str]:
        made = (self.asker.made(row.texts["en"], "en", code) for row in self.rows)
        return [found.text for found in made if found.status == "ok"]

    def _write(self, asked: int) -> None:
        review = self.output / "review.csv"
        # A person may save the file while the machine works, or in the seconds that the checks of a large file take.
        while True:
            saved = review.read_bytes() if review.exists() else b""
            found = read_review(review)
            cells = self._cells(found)
            if saved == (review.read_bytes() if review.exists() else b""):
                break
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
        if why := summary.errors(cells):
            self.screen.say(f"Errors, which the same command tries again: {why}.")
        others = [row for row in reviewed[len(self.rows) * len(cells) :] if row.correction]
        if others:
            self.screen.say(
                f"Corrections without effect: {len(others)} (the first of '{others[0].id}' in '{others[0].language}'), because "
                "this command has no such row or language; they stay in review.csv."
            )
        if not asked and not any(changed):
            self.screen.say("Nothing had to be done.")
        if not written:
            self.screen.say("No row has every language, so there is no prompts.jsonl; see review.csv.")
            bare = [display_name(code) for code, column in cells.items() if all(cell.hindrances for cell in column)]
            if 0 < len(bare) < len(cells):
                self.screen.say(f"Without a usable row, and to be left out of --to: {', '.join(bare)}.")
        names = [name for name in OURS[1:] if (self.output / name).exists()]
        self.screen.say("Made  " + "  ".join(str(self.output / name) for name in names))

    def _cells(self, found: Mapping[tuple[str, str], ReviewRow]) -> dict[str, list[Cell]]:
        cells: dict[str, list[Cell]] = {}
        for code in self.codes:
            cells[code] = []
            for row in self.rows:
                machine = self.asker.made(row.texts["en"], "en", code)
                back = self.asker.made(machine.text, code, "en") if machine.status == "ok" else None
                cells[code].append(Cell(row, code, machine, back, found.get((row.id, code))))
            flag_cells(cells[code], self.min_chrf)
        return cells

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
