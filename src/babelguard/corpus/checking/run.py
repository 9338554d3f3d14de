"""Run all checks on all files. The files are read a second time if texts must be compared with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from babelguard.corpus.checking.characters import (
    encoding_faults,
    fold_punctuation,
    normalisation_faults,
    script_fault,
)
from babelguard.corpus.checking.duplicates import Duplicates
from babelguard.corpus.checking.embeddings import Embeddings
from babelguard.corpus.checking.language import CellLanguages
from babelguard.corpus.checking.lengths import Lengths
from babelguard.corpus.checking.options import CheckOptions
from babelguard.corpus.checking.reader import RawRow, count_lines, read_rows
from babelguard.corpus.checking.report import LanguageSummary, Report
from babelguard.corpus.checking.state import Rows
from babelguard.corpus.checking.structure import Structure
from babelguard.corpus.load import corpus_files
from babelguard.corpus.text import clean, is_empty
from babelguard.languages import LANGUAGES
from babelguard.screen import Screen, Silent

_TICK = 200  # lines


def check_corpus(
    paths: Sequence[Path] = (), options: CheckOptions | None = None, screen: Screen | None = None
) -> Report:
    """Check files as one corpus.

    Args:
        paths: CSV or JSONL files, or folders of them. If empty, the built-in corpus is checked.
        options: Which checks run, and their thresholds.
        screen: Where progress is shown.

    Raises:
        UserError: If nothing in a file can be read, or a library is missing.
    """
    files: dict[Path, Path] = {}
    for file in (file for path in paths or (None,) for file in corpus_files(path)):
        files.setdefault(file.resolve(), file)
    return _Run(list(files.values()), options or CheckOptions(), screen or Silent()).report()


class _Run:
    def __init__(self, files: Sequence[Path], options: CheckOptions, screen: Screen) -> None:
        self._files = files
        self._options = options
        self._screen = screen
        skipped = options.skip if options.embeddings else options.skip | {"embeddings"}
        self._report = report = Report(options.examples, skipped)
        self._rows = rows = Rows()
        self._structure = Structure(rows, report)
        runs = options.runs
        self._languages = CellLanguages(report, options.language_margin) if runs("language") else None
        self._lengths = Lengths(rows, report, options.length_mads) if runs("length") else None
        self._duplicates = Duplicates(rows, report, options.similar if runs("near-duplicates") else None)
        self._embeddings = Embeddings(rows, report, options.embedding_mads) if runs("embeddings") else None

    def report(self) -> Report:
        self._report.files = [str(file) for file in self._files]
        for row in self._read("Checking", self._report):
            self._row(row)
        self._report.rows = len(self._rows)
        self._structure.finish()
        for check in (self._languages, self._lengths, self._duplicates, self._embeddings):
            if check is not None:
                check.finish()
        if self._duplicates.needs_texts:
            for number, row in enumerate(self._read("Comparing", Report(0))):
                for code, text in row.cells.items():
                    self._duplicates.add_text(number, code, fold_punctuation(text))
        self._duplicates.compare()
        order = sorted(self._report.languages, key=lambda code: (code != "en", code))
        self._report.languages = {code: self._report.languages[code] for code in order}
        return self._report

    def _read(self, what: str, report: Report) -> Iterator[RawRow]:
        sizes = [count_lines(file) for file in self._files]
        with self._screen.progress(what) as (tick, note):
            for k, file in enumerate(self._files):
                note(file.name)
                before = sum(sizes[:k])
                for row in read_rows(file, report):
                    if row.place.line % _TICK == 0:
                        tick(min(before + row.place.line, sum(sizes)), sum(sizes))
                    yield row
            tick(sum(sizes), sum(sizes))

    def _row(self, row: RawRow) -> None:
        number = self._rows.add(row)
        self._structure.add_row(number, row)
        for name, text in row.meta.items():
            for fault in encoding_faults(text):
                self._report.add("encoding", row.place, f"in the field '{name}' {fault}")
        english = clean(row.cells.get("en", ""))
        for code, text in row.cells.items():
            if not is_empty(text):
                self._report.languages.setdefault(code, LanguageSummary()).cells += 1
                self._cell(number, row, code, text, english)

    def _cell(self, number: int, row: RawRow, code: str, text: str, english: str) -> None:
        script, report = LANGUAGES[code].script, self._report
        for fault in encoding_faults(text):
            report.add("encoding", row.place, fault, code)
        for fault in normalisation_faults(text, script):
            report.add("normalisation", row.place, fault, code)
        text = clean(text)  # the other checks use the text as the loader reads it
        if self._options.runs("script") and (wrong := script_fault(text, script, self._options.script_share)):
            report.add("script", row.place, wrong, code)
        if self._languages is not None:
            self._languages.add_cell(row.place, code, text)
        if english and code != "en":
            if self._lengths is not None:
                self._lengths.add_cell(number, code, text, english)
            if self._embeddings is not None:
                self._embeddings.add_cell(number, code, text, english)
        self._duplicates.add_cell(number, code, fold_punctuation(text))
