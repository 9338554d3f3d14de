"""The job: translate and back-translate, check, apply corrections, and write the multilingual file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from babelguard.corpus import Row, load_prompts
from babelguard.corpus.header import INDONESIAN
from babelguard.corpus.translation import checks, summary
from babelguard.corpus.translation.base import Engine
from babelguard.corpus.translation.cache import Cache
from babelguard.corpus.translation.folder import OUTPUT_FILES, check_output
from babelguard.corpus.translation.result import Cell, corpus_rows, flag_cells
from babelguard.corpus.translation.review import ReviewRow, merge, read_review, review_text
from babelguard.corpus.translation.translator import Translator
from babelguard.errors import UserError
from babelguard.files import locked, write_text
from babelguard.languages import display_name, language
from babelguard.screen import Screen


def read_source(path: Path, to: Sequence[str]) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Read the file to translate, and check the target languages.

    Returns:
        The rows of the file, and the codes of the target languages.

    Raises:
        UserError: If the file has a mistake or no English, or a language is unknown, English, or already in the file.
    """
    codes = tuple(dict.fromkeys("id" if code == INDONESIAN else language(code).code for code in to))
    if not codes:
        raise UserError("No target language is given; set `to`, for example ko,da.")
    found = load_prompts(path)
    if "en" not in found.languages:
        raise UserError(f"The file {path} has no column 'en'; add the English texts to translate.")
    for code in codes:
        if code in found.languages:
            why = "is the source language" if code == "en" else f"is already in {path}"
            raise UserError(f"{display_name(code)} {why}; remove it from `to`.")
    return found.rows, codes


class TranslationJob:
    """The translation of one file.

    Args:
        path: CSV or JSONL file with id, label and en.
        to: Codes of the target languages.
        engine: The translation engine.
        output: Output folder. The same job resumes in it.
        min_chrf: Back-translations with a lower chrF are flagged, 0 to 100.
        screen: Where progress and results are shown.

    Raises:
        UserError: If the file, a language, the engine or the folder cannot be used.
    """

    def __init__(
        self, path: Path, to: Sequence[str], engine: Engine, output: Path, *, min_chrf: float, screen: Screen
    ) -> None:
        self.rows, self.codes = read_source(path, to)
        self.path, self.engine, self.output = path, engine, output
        self.min_chrf, self.screen = min_chrf, screen
        engine.check((*self.codes, "en"))
        checks.require_sacrebleu()
        self._open()

    def _open(self) -> None:
        """Check the output folder, and read what is translated already."""
        check_output(self.output, self.path, self.rows, self.codes)
        self.translator = Translator(self.engine, Cache(self.output / "translations.jsonl"))

    def plan(self) -> None:
        """Show the plan: rows, languages, requests, characters and licence."""
        engine, count = self.engine, len(self.codes)
        texts = [row.texts["en"] for row in self.rows]
        forward = {code: self.translator.missing(self._wanted_texts(code), "en", code) for code in self.codes}
        done = sum(len(texts) - len(found) for found in forward.values())
        back = {
            code: len(found) + len(self.translator.missing(self._forward_texts(code), code, "en"))
            for code, found in forward.items()
        }
        requests = sum(
            math.ceil(size / engine.batch) for code in self.codes for size in (len(forward[code]), back[code])
        )
        # A back-translation is assumed to be as long as the source.
        characters = sum(map(len, texts)) * (sum(map(len, forward.values())) + sum(back.values())) // max(1, len(texts))
        self.screen.title(f"{len(texts)} rows x {count} {'language' if count == 1 else 'languages'}")
        self.screen.say(f"  file       {self.path.name}")
        self.screen.say(f"  languages  {', '.join(display_name(code) for code in self.codes)}")
        self.screen.say(f"  model      {engine.model} (engine {engine.name}), licence: {engine.licence}")
        if engine.host:
            self.screen.say(f"  sent to    {engine.host}")
        self.screen.say(
            f"  to do      {len(texts) * count - done} of {len(texts) * count} texts, with back-translation"
        )
        if requests:
            self.screen.say(
                f"  requests   about {requests:,} of up to {engine.batch} texts, {engine.parallel} in parallel, about "
                f"{characters:,} characters of text"
            )
        self.screen.say(f"  output     {self.output}")
        for notice in engine.notices:
            self.screen.say(f"  NOTE       {notice}")

    def run(self) -> None:
        """Translate what is missing, and write the output files.

        Raises:
            UserError: If no request can succeed or a file cannot be written. The same command resumes.
        """
        with locked(self.output):
            self._open()  # again, because another process may have changed it until now
            self._run()

    def _run(self) -> None:
        self.plan()
        try:
            wanted = [("en", code, self._wanted_texts(code)) for code in self.codes]
            translated = self.translator.translate("Translating", wanted, self.screen)
            back = [(code, "en", self._forward_texts(code)) for code in self.codes]
            translated += self.translator.translate("Translating back", back, self.screen)
        finally:
            self.engine.close()
        if not translated:
            self.screen.say("All texts are already translated.")
        self._write(translated)

    def _wanted_texts(self, code: str) -> list[str]:
        """Return the texts to translate: all but those that a person translated after the engine did not."""
        review = read_review(self.output / "review.csv")
        corrected = {row.id for row in review.values() if row.correction and row.language == code}
        texts = ((row.id in corrected, row.texts["en"]) for row in self.rows)
        return [text for done, text in texts if not (done and self.translator.tried(text, "en", code))]

    def _forward_texts(self, code: str) -> list[str]:
        results = (self.translator.result(row.texts["en"], "en", code) for row in self.rows)
        return [found.text for found in results if found.status == "ok"]

    def _write(self, translated: int) -> None:
        review = self.output / "review.csv"
        # A person may save the review file while it is being processed. In that case it is read again.
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
            self._update("review.csv", review_text(reviewed)),
            self._update("prompts.jsonl", prompts),
            self._update(
                "report.md",
                summary.report(self.path.name, cells, left, len(written), self.engine, self.min_chrf),
            ),
        ]
        self.screen.show(summary.table(cells))
        self.screen.say(f"{len(written)} of {len(self.rows)} rows are complete in all languages.")
        if left:
            self.screen.say(f"Rows left out: {len(left)} ({summary.reasons(left)}); they are listed in report.md.")
        if why := summary.errors(cells):
            self.screen.say(f"Errors: {why}. Run the same command again to retry.")
        others = [row for row in reviewed[len(self.rows) * len(cells) :] if row.correction]
        if others:
            self.screen.say(
                f"Corrections without effect: {len(others)} (the first is '{others[0].id}' in '{others[0].language}'), because "
                "this command has no such row or language; they are kept in review.csv."
            )
        if not translated and not any(changed):
            self.screen.say("Nothing has changed.")
        if not written:
            self.screen.say("No row is complete in all languages, so prompts.jsonl was not written; see review.csv.")
            bare = [display_name(code) for code, column in cells.items() if all(cell.blocking_flags for cell in column)]
            if 0 < len(bare) < len(cells):
                self.screen.say(f"Languages without a usable row, which you can remove from `to`: {', '.join(bare)}.")
        names = [name for name in OUTPUT_FILES[1:] if (self.output / name).exists()]
        self.screen.say("Output files: " + "  ".join(str(self.output / name) for name in names))

    def _cells(self, found: Mapping[tuple[str, str], ReviewRow]) -> dict[str, list[Cell]]:
        cells: dict[str, list[Cell]] = {}
        for code in self.codes:
            cells[code] = []
            for row in self.rows:
                machine = self.translator.result(row.texts["en"], "en", code)
                back = self.translator.result(machine.text, code, "en") if machine.status == "ok" else None
                cells[code].append(Cell(row, code, machine, back, found.get((row.id, code))))
            flag_cells(cells[code], self.min_chrf)
        return cells

    def _update(self, name: str, text: str) -> bool:
        """Write a file if its content differs, or delete it if the text is empty. Returns whether it was written."""
        path = self.output / name
        if not text:
            path.unlink(missing_ok=True)
            return False
        if path.exists() and path.read_bytes() == text.encode():
            return False
        write_text(path, text)
        return True
