"""The review file: what the machine wrote, beside a person's corrections, which always win."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from babelguard.errors import UserError
from babelguard.translation.reply import clean

COLUMNS = ("id", "language", "en", "machine", "back", "chrF", "flags", "correction", "note")
_NEEDED = ("id", "language", "en", "correction")


@dataclass(frozen=True)
class ReviewRow:
    """One text in one language.

    Attributes:
        id: Of the row.
        language: Code.
        en: The English text that the rest of the row is about.
        machine: The machine's translation.
        back: Its back-translation.
        chrf: chrF of it, as text; empty where there is none.
        flags: Separated by spaces.
        correction: What a person wrote; empty: the machine's text stands.
        note: Anything else that a person wrote.
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
    def touched(self) -> bool:
        """Whether a person wrote into it."""
        return bool(self.correction or self.note)


def read_review(path: Path) -> dict[tuple[str, str], ReviewRow]:
    """The review file by id and language; empty where there is none yet.

    Spreadsheet programs save with other delimiters, line ends and a byte-order mark: all of them are read.

    Raises:
        UserError: for a file that cannot be read; nothing of a person's is ever passed over.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise UserError(f"Byte {error.start} of {path} is not UTF-8; save it as CSV UTF-8.") from None
    except OSError as error:
        raise UserError(f"The file {path} cannot be read ({error.strerror or error}).") from None
    # No cell is longer than the file; without this none may have more than 131,072 characters.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    found: dict[tuple[str, str], ReviewRow] = {}
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                pass  # spreadsheet programs leave empty lines behind
            elif not header:
                header = [cell.strip() for cell in cells]
                _check_header(path, header)
            else:
                row = _row(path, line, header, cells)
                if row.key in found:
                    what = f"'{row.id}' and '{row.language}' stand there a second time; keep one of the two lines"
                    raise UserError(f"In line {line} of {path}, {what}.")
                found[row.key] = row
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"The row in line {line} of {path} is not valid CSV ({error}); check its quotation marks."
        ) from None
    return found


def _check_header(path: Path, header: list[str]) -> None:
    other = next((name for name in header if name not in COLUMNS), None)
    if other is not None:
        what = "would be lost, because the file is written anew: move what it holds into 'note'"
        raise UserError(f"The column '{other}' of {path} {what}, and remove the column.")
    for name in dict.fromkeys((*_NEEDED, *header)):
        if header.count(name) != 1:
            raise UserError(
                f"The column '{name}' of {path} is missing or stands twice; put the first line back as it was."
            )


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> ReviewRow:
    # Some programs leave out empty cells at the end of a line; a cell too many means that a text was torn.
    if len(cells) > len(header):
        what = f"{len(cells)} cells for {len(header)} columns; put a text that holds the delimiter in quotation marks"
        raise UserError(f"In line {line} of {path}, there are {what}.")
    given = dict(zip(header, (clean(cell) for cell in cells), strict=False))
    if not given.get("id") or not given.get("language"):
        raise UserError(f"In line {line} of {path}, id or language is empty; fill it or remove the line.")
    # What holds nothing that can be seen is no correction.
    correction = given.get("correction", "")
    return ReviewRow(
        id=given["id"],
        language=given["language"],
        en=given.get("en", ""),
        machine=given.get("machine", ""),
        back=given.get("back", ""),
        chrf=given.get("chrF", ""),
        flags=given.get("flags", ""),
        correction=correction if any(char.isprintable() and not char.isspace() for char in correction) else "",
        note=given.get("note", ""),
    )


def merge(rows: Iterable[ReviewRow], found: Mapping[tuple[str, str], ReviewRow]) -> list[ReviewRow]:
    """The rows of a job, and behind them those of other languages and rows into which a person wrote."""
    mine = list(rows)
    keys = {row.key for row in mine}
    return mine + [row for key, row in found.items() if key not in keys and row.touched]


def review_text(rows: Iterable[ReviewRow]) -> str:
    """The file's content, with a byte-order mark, without which spreadsheet programs do not see that it is UTF-8."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            (row.id, row.language, row.en, row.machine, row.back, row.chrf, row.flags, row.correction, row.note)
        )
    return "\ufeff" + out.getvalue()
