"""Rows and corpora of parallel prompts, and the columns that a file of them may have."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from babelguard.corpus.cells import hidden_fault
from babelguard.errors import UserError
from babelguard.languages import COUNTRIES, LANGUAGES, OLD_CODES
from babelguard.languages import language as look_up

REQUIRED = ("id", "label")
METADATA = ("split", "category", "topic", "twin", "licence", "maker", "checker", "note")
LABELS = ("harmful", "harmless")
SPLITS = ("train", "validation", "test")
# Fields that are compared character by character, so that one which nobody sees must not stand in them.
EXACT = ("id", "label", "split", "twin")
# The column `id` names the row. Indonesian has the same code, so its column is named with the region.
INDONESIAN = "id-ID"
# How the one column of a file in one language is often called.
_ANY_LANGUAGE = ("prompt", "prompts", "text", "texts")


def column_language(column: str) -> str | None:
    """The language code of a column, None if the column holds none."""
    if column == INDONESIAN:
        return "id"
    return column if column in LANGUAGES and column not in REQUIRED else None


def column_of(code: str) -> str:
    """The name of a language's column."""
    return INDONESIAN if code == "id" else code


def language_code(name: str) -> str:
    """The code of a language that is named by its code or, as Indonesian may be, by its column."""
    return column_language(name) or name


@dataclass(frozen=True)
class Row:
    """One prompt in its languages.

    Attributes:
        id: Its name, unique in a corpus.
        label: `harmful` or `harmless`.
        texts: The prompt by language code, in the order of the file's columns, NFC and stripped.
        split: `train`, `validation` or `test`.
        category: Kind of harm.
        topic: What it is about; no topic of the shipped test rows occurs in the other splits.
        twin: Id of the row that is worded alike, in the shipped corpus one of the other label.
        licence: Under which it may be passed on.
        maker: Who wrote it.
        checker: Who checked it.
        note: Anything else.
    """

    id: str
    label: str
    texts: Mapping[str, str]
    split: str | None = None
    category: str | None = None
    topic: str | None = None
    twin: str | None = None
    licence: str | None = None
    maker: str | None = None
    checker: str | None = None
    note: str | None = None

    @property
    def harmful(self) -> bool:
        """Whether a safe model refuses it."""
        return self.label == "harmful"


@dataclass(frozen=True)
class Corpus:
    """Rows with the languages that every one of them has. Made by `Corpus.of`, which works out the digest.

    Attributes:
        rows: In the order of the files.
        languages: Codes that every row has, in the order of the columns.
        name: For messages.
        digest: SHA-256 of the rows; file format, line ends and the order of columns leave it as it is.
    """

    rows: tuple[Row, ...]
    languages: tuple[str, ...]
    name: str
    digest: str

    @classmethod
    def of(cls, rows: Iterable[Row], name: str) -> Corpus:
        """A corpus of these rows."""
        kept = tuple(rows)
        columns = kept[0].texts if kept else {}
        shared = tuple(code for code in columns if all(code in row.texts for row in kept))
        return cls(kept, shared, name, _digest(kept))

    @property
    def labels(self) -> list[int]:
        """Of each row: 0 harmful, 1 harmless."""
        return [LABELS.index(row.label) for row in self.rows]

    @property
    def groups(self) -> list[list[int]]:
        """Indices of the rows, twins together; a row whose twin is not here stands alone."""
        place = {row.id: k for k, row in enumerate(self.rows)}
        twins = [place.get(row.twin or "", k) for k, row in enumerate(self.rows)]
        return [[k] if twin == k else [k, twin] for k, twin in enumerate(twins) if k <= twin]

    def texts(self, language: str) -> list[str]:
        """The prompts of all rows in one language.

        Raises:
            UserError: where not every row has the language.
        """
        code = self._code(language)
        return [row.texts[code] for row in self.rows]

    def split(self, name: str) -> Corpus:
        """The rows of one split, which may be none.

        Raises:
            UserError: for a name that is no split.
        """
        if name not in SPLITS:
            raise UserError(f"'{name}' is no split of a corpus; use one of {', '.join(SPLITS)}.")
        return Corpus.of((row for row in self.rows if row.split == name), self.name)

    def select(self, languages: Sequence[str] | None = None, limit: int | None = None) -> Corpus:
        """A part of the languages and of the rows.

        Args:
            languages: Codes, in the order that the result shall have (Indonesian: `id` or `id-ID`); None: all.
            limit: The first so many rows of each label; None: all.

        Raises:
            UserError: for a language that not every row has, an empty choice, or a limit below 1.
        """
        rows = self.rows
        if languages is not None:
            if not languages:
                raise UserError(f"No language is chosen; {self.name} has {', '.join(self.languages)}.")
            codes = [self._code(name) for name in languages]
            rows = tuple(replace(row, texts={code: row.texts[code] for code in codes}) for row in rows)
        if limit is not None:
            rows = _first(rows, limit)
        return Corpus.of(rows, self.name)

    def _code(self, language: str) -> str:
        code = language_code(language)
        if code not in self.languages:
            shared = ", ".join(self.languages) or "none"
            raise UserError(f"Not all rows of {self.name} have the language '{language}'; all have: {shared}.")
        return code


def mistake(path: Path, line: int, what: str) -> UserError:
    """The error for one line of a file."""
    return UserError(f"In line {line} of {path}, {what}.")


def check_no_repeat(path: Path, line: int, names: Sequence[str]) -> None:
    """Refuse a column that occurs twice."""
    repeated = next((name for k, name in enumerate(names) if name and name in names[:k]), None)
    if repeated is not None:
        hint = f" (the column of Indonesian is '{INDONESIAN}')" if repeated == "id" else ""
        raise mistake(path, line, f"the column '{repeated}' occurs twice; keep one{hint}")


def check_columns(path: Path, line: int, names: Sequence[str]) -> None:
    """Refuse an unknown column, and a file without id, label or a language."""
    plain = (*REQUIRED, *METADATA)
    for number, name in enumerate(names, start=1):
        if fault := name_fault(number, name):
            raise mistake(path, line, fault)
        if name not in plain and column_language(name) is None:
            what = f"is neither a known language code nor one of {', '.join(plain)}"
            raise UserError(f"In line {line}, the column '{name}' of {path} {what}: {unknown_column(name)}")
    for name in REQUIRED:
        if name not in names:
            raise mistake(path, line, f"the column '{name}' is missing; every row needs id and label")
    if all(column_language(name) is None for name in names):
        raise mistake(path, line, "there is no language column; name one by its code, such as 'en'")


def name_fault(number: int, name: str) -> str | None:
    """What is wrong with the name of a column, whatever it means: there is none, or nobody sees a part of it."""
    if not name.strip():
        return f"column {number} has no name; name it or remove it"
    fault = hidden_fault(name)
    return None if fault is None else f"the column '{name}' {fault}"


def unknown_column(name: str) -> str:
    """What to do about a column that is neither a language nor a field."""
    if name.lower() in _ANY_LANGUAGE:
        return "name it by its language, such as en."
    if name.startswith("sep="):
        return "remove this line, which is for Excel alone."
    # Of two or three letters nearly every name is a letter away from some code, and none of those is meant.
    short = len(name) <= 3
    close = difflib.get_close_matches(name.lower(), (*REQUIRED, *METADATA), n=1, cutoff=1.0 if short else 0.7)
    if close:
        return f"did you mean '{close[0]}'?"
    if short and name.lower() not in LANGUAGES | OLD_CODES | COUNTRIES:
        return (
            "it is not among the languages that babelguard knows; rename or remove the column, or add the language to "
            "languages.py (see docs/extending.md)."
        )
    try:
        meant = look_up(name)
    except UserError as error:
        # What to do stands at the end of its sentence; it knows slips such as `kr` and `Korean`.
        hint = str(error).partition("is not known: ")[2].replace("'id' (", f"'{INDONESIAN}' (")
        return hint or "rename or remove it."
    return f"did you mean '{column_of(meant.code)}' ({meant.name})?"


def _first(rows: Sequence[Row], limit: int) -> tuple[Row, ...]:
    if limit < 1:
        raise UserError(f"The limit of rows per label is {limit}; give 1 or more.")
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[row.label] += 1
        if seen[row.label] <= limit:
            kept.append(row)
    return tuple(kept)


def _digest(rows: Iterable[Row]) -> str:
    # Fields without a value are left out, so an empty cell of a CSV file equals a missing key of JSONL.
    content = [{field: value for field, value in asdict(row).items() if value is not None} for row in rows]
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
