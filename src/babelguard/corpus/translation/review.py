"""The review file: machine translations, and corrections by a person, which always take precedence."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from babelguard.corpus.csv_rows import BrokenCsv, csv_rows
from babelguard.corpus.text import is_empty
from babelguard.corpus.translation.parsing import clean_reply
from babelguard.errors import UserError
from babelguard.files import FileFault, read_text

COLUMNS = ("id", "language", "en", "machine", "back", "chrF", "flags", "correction", "note")
_NEEDED = ("id", "language", "en", "correction")


@dataclass(frozen=True)
class ReviewRow:
    """One text in one language.

    Attributes:
        id: Id of the row.
        language: Language code.
        en: The English text that was translated.
        machine: The machine translation.
        back: Its back-translation.
        chrf: chrF of the back-translation as text, or '' if there is none.
        flags: Flags separated by spaces.
        correction: Correction by a person, or '' to use the machine translation.
        note: Note by a person.
    """

    id: str
    language: str
    en: str
    machine: str = ""
    back: str = ""
    chrf: str = ""
    flags: str = ""
    correction: str = ""
    note: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Id and language."""
        return self.id, self.language

    @property
    def edited(self) -> bool:
        """Whether a person wrote a correction or a note."""
        return bool(self.correction or self.note)


def read_review(path: Path) -> dict[tuple[str, str], ReviewRow]:
    """Read the review file. Returns its rows by id and language, or an empty dict if there is no file.

    Files saved by spreadsheet programs, with other delimiters, line ends or a byte-order mark, can be read too.

    Raises:
        UserError: If the file or one of its rows cannot be read, so that no correction is silently ignored.
    """
    try:
        text = read_text(path)
    except FileFault as error:
        if error.missing:
            return {}
        where = f"in line {error.line}, " if error.line is not None else ""
        raise UserError(f"The file {path} cannot be read ({where}{error.why}).") from None
    found: dict[tuple[str, str], ReviewRow] = {}
    header: list[str] = []
    try:
        # No cell is longer than the file.
        for given in csv_rows(io.StringIO(text, newline=""), max_cell=len(text)):
            if not header:
                header = given.names()
                _check_header(path, header)
                continue
            row = _row(path, given.line, header, given.cells)
            if row.key in found:
                what = f"the row for '{row.id}' and '{row.language}' is repeated; keep one of the two lines"
                raise UserError(f"In line {given.line} of {path}, {what}.")
            found[row.key] = row
    except BrokenCsv as error:
        raise UserError(
            f"The row in line {error.line} of {path} is not valid CSV ({error}); check its quotation marks."
        ) from None
    return found


def _check_header(path: Path, header: list[str]) -> None:
    other = next((name for name in header if name not in COLUMNS), None)
    if other is not None:
        what = "would be lost when the file is rewritten; move its content into 'note' and remove the column"
        raise UserError(f"The column '{other}' of {path} {what}.")
    for name in dict.fromkeys((*_NEEDED, *header)):
        if header.count(name) != 1:
            raise UserError(f"The column '{name}' of {path} is missing or repeated; restore the original first line.")


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> ReviewRow:
    # Some programs omit empty cells at the end of a line. An extra cell means that a text was split.
    if len(cells) > len(header):
        what = f"{len(cells)} cells for {len(header)} columns; put texts that contain the delimiter in quotation marks"
        raise UserError(f"In line {line} of {path}, there are {what}.")
    given = dict(zip(header, (clean_reply(cell) for cell in cells), strict=False))
    if not given.get("id") or not given.get("language"):
        raise UserError(f"In line {line} of {path}, id or language is empty; fill it or remove the line.")
    correction = given.get("correction", "")
    return ReviewRow(
        id=given["id"],
        language=given["language"],
        en=given.get("en", ""),
        machine=given.get("machine", ""),
        back=given.get("back", ""),
        chrf=given.get("chrF", ""),
        flags=given.get("flags", ""),
        correction="" if is_empty(correction) else correction,
        note=given.get("note", ""),
    )


def merge(rows: Iterable[ReviewRow], found: Mapping[tuple[str, str], ReviewRow]) -> list[ReviewRow]:
    """Return the rows of a job, followed by edited rows of other languages and ids."""
    mine = list(rows)
    keys = {row.key for row in mine}
    return mine + [row for key, row in found.items() if key not in keys and row.edited]


def review_text(rows: Iterable[ReviewRow]) -> str:
    """Format the review file. A byte-order mark tells spreadsheet programs that it is UTF-8."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            (row.id, row.language, row.en, row.machine, row.back, row.chrf, row.flags, row.correction, row.note)
        )
    return "\ufeff" + out.getvalue()
