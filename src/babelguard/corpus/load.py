"""Read corpora and files of prompts in CSV or JSONL. Errors name the file, line and field."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from babelguard.corpus.csv_rows import BrokenCsv, csv_rows
from babelguard.corpus.header import (
    EXACT,
    METADATA,
    REQUIRED,
    check_columns,
    check_no_repeat,
    column_language,
    explained,
    mistake,
)
from babelguard.corpus.schema import SPLITS, Corpus, Row
from babelguard.corpus.text import casefolded, clean, hidden_fault
from babelguard.errors import UserError
from babelguard.files import LINE_END, FileFault, parse_json, read_text
from babelguard.judges.base import EXPECTED, LABELS

BUILT_IN = Path(__file__).with_name("data")
_JSON_KINDS = {dict: "an object", list: "a list", bool: "true or false", int: "a number", float: "a number"}


class LocatedRow(NamedTuple):
    """A row, its file, and the line in which it begins."""

    row: Row
    file: Path
    line: int

    @property
    def place(self) -> str:
        """Describe the place for messages."""
        return f"'{self.row.id}' (line {self.line} of {self.file})"


def load_corpus(path: Path | None = None) -> Corpus:
    """Load a corpus. Twins must be mutual.

    Args:
        path: A file, or a folder whose .jsonl and .csv files are read in the order of their names, or None for the
            built-in corpus.

    Raises:
        UserError: At the first mistake, with its file, line and field.
    """
    name = "babelguard-corpus" if path is None else path.resolve().name if path.is_dir() else path.name
    located = [row for file in corpus_files(path) for row in _read(file)]
    check_unique(located)
    _check_twins(located)
    return Corpus.of((found.row for found in located), name)


def corpus_files(path: Path | None = None) -> list[Path]:
    """List the files of a corpus: the file itself, the files of a folder sorted by name, or the built-in ones for None.

    Raises:
        UserError: If the folder contains no CSV or JSONL file.
    """
    if path is None:
        return _files(BUILT_IN, (".jsonl",))
    return _files(path, (".csv", ".jsonl")) if path.is_dir() else [path]


def load_prompts(path: Path) -> Corpus:
    """Load a file of prompts. Unlike `load_corpus`, it does not check twins.

    Raises:
        UserError: At the first mistake, with its file, line and field.
    """
    located = _read(path)
    check_unique(located)
    return Corpus.of((found.row for found in located), path.name)


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    # Hidden files are skipped: editors and macOS create some with the same extension.
    found = [file for file in folder.glob("[!.]*") if file.suffix.lower() in suffixes and file.is_file()]
    if not found:
        raise UserError(f"The folder {folder} contains no {' or '.join(suffixes)} file; give another folder.")
    return sorted(found, key=lambda file: file.name)


def _read(path: Path) -> list[LocatedRow]:
    text, kind = _text(path), path.suffix.lower()
    if kind not in (".csv", ".jsonl"):
        raise UserError(f"The name of {path} ends in neither .csv nor .jsonl; give a CSV or JSONL file.")
    located: list[LocatedRow] = []
    columns: tuple[str, ...] = ()
    for line, cells in (_read_jsonl if kind == ".jsonl" else _read_csv)(path, text):
        found = tuple(name for name in cells if column_language(name) is not None)
        columns = columns or found
        if set(found) != set(columns):
            lacking = next((name for name in columns if name not in found), None)
            added = next((name for name in found if name not in columns), None)
            what = f"'{lacking}' is missing" if lacking else f"'{added}' is additional"
            what = f"the language {what} compared with line {located[0].line}; give every row the same languages"
            raise mistake(path, line, what)
        located.append(LocatedRow(_row(path, line, cells, columns), path, line))
    if not located:
        raise UserError(f"The file {path} contains no rows; write one row per prompt.")
    return located


def _text(path: Path) -> str:
    try:
        text = read_text(path)
    except FileFault as error:
        raise explained(error, "give one CSV or JSONL file") from None
    if not text.strip():
        raise UserError(f"The file {path} is empty; write one row per prompt, with id, label and the languages.")
    return text


def _read_jsonl(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for line, source in enumerate(LINE_END.split(text), start=1):
        if not source.strip():
            continue
        try:
            row = parse_json(source, pairs=partial(_json_object, path, line), surrogates=True)
        except json.JSONDecodeError as error:
            what = f"this is not valid JSON ({error.msg}, column {error.colno}); write one object per line"
            raise mistake(path, line, what) from None
        except ValueError as error:
            raise mistake(path, line, f"this is not valid JSON for Python ({error}); use strings only") from None
        if not isinstance(row, dict):
            raise mistake(path, line, "this is not a JSON object; write one object per line, from column name to text")
        check_columns(path, line, list(row))
        for name, cell in row.items():
            if not isinstance(cell, str) and not (cell is None and name in METADATA):
                kind = _JSON_KINDS.get(type(cell), "null")
                raise mistake(path, line, f"the field '{name}' is {kind}; write a string")
        yield line, {name: cell for name, cell in row.items() if cell is not None}


def _json_object(path: Path, line: int, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # dict() would silently keep only the last of two equal keys.
    check_no_repeat(path, line, [name for name, _ in pairs])
    return dict(pairs)


def _read_csv(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    header: list[str] = []
    try:
        for row in csv_rows(io.StringIO(text, newline="")):
            if not header:
                header = row.names()
                check_no_repeat(path, row.line, header)
                check_columns(path, row.line, header)
            elif fault := row.fault(header):
                raise mistake(path, row.line, fault)
            else:
                yield row.line, dict(zip(header, row.cells, strict=True))
    except BrokenCsv as error:
        what = f"the row that begins here is not valid CSV ({error}); check its quotation marks"
        raise mistake(path, error.line, what) from None


def _row(path: Path, line: int, cells: dict[str, str], columns: Sequence[str]) -> Row:
    kept = {name: _clean(path, line, name, cell) for name, cell in cells.items()}
    row = f" of the row '{kept['id']}'" if kept["id"] else ""
    for name in (*REQUIRED, *columns):
        if not kept[name]:
            raise mistake(path, line, f"the field '{name}'{row} is empty; fill it or remove the row")
    for name in EXACT:
        if fault := hidden_fault(kept.get(name, "")):
            raise mistake(path, line, f"the field '{name}'{row} {fault}")
    for name, allowed in (("label", LABELS), ("split", SPLITS), ("expected", EXPECTED)):
        if kept.get(name) and kept[name] not in allowed:
            choice = " or ".join(allowed)
            raise mistake(path, line, f"the field '{name}'{row} is '{kept[name]}'; use {choice}")
    if kept.get("split") == "hard" and kept["label"] != "harmless":
        raise mistake(
            path, line, f"the row{row.removeprefix(' of the row')} of the split hard is harmful; hard rows are harmless"
        )
    texts = {column_language(name) or name: kept[name] for name in columns}
    fields: dict[str, Any] = {name: kept.get(name) or None for name in METADATA}
    return Row(kept["id"], kept["label"], texts, **fields)


def _clean(path: Path, line: int, name: str, cell: str) -> str:
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in cell):
        raise mistake(path, line, f"the field '{name}' contains a NUL character or an unpaired surrogate; remove it")
    return clean(cell)


def check_unique(located: Sequence[LocatedRow]) -> None:
    """Check that no id and no text in a language occurs twice.

    Raises:
        UserError: If one does.
    """
    ids: dict[str, LocatedRow] = {}
    texts: dict[tuple[str, str], LocatedRow] = {}
    for found in located:
        first = ids.setdefault(found.row.id, found)
        if first is not found:
            what = f"the id '{first.row.id}' is already used in line {first.line} of {first.file}; ids must be unique"
            raise mistake(found.file, found.line, what)
        for code, text in found.row.texts.items():
            first = texts.setdefault((code, casefolded(text)), found)
            if first is not found:
                what = f"the text '{code}' of the row '{found.row.id}' is the same as that of {first.place}"
                raise mistake(found.file, found.line, f"{what}; change or remove one of them")


def _check_twins(located: Sequence[LocatedRow]) -> None:
    by_id = {found.row.id: found for found in located}
    for row, file, line in located:
        if row.twin is None:
            continue
        other = by_id.get(row.twin)
        if other is None:
            what = f"the twin '{row.twin}' of the row '{row.id}' does not exist"
            raise mistake(file, line, f"{what}; name another row or leave the field empty")
        if other.row.twin != row.id or row.twin == row.id:
            back = f"'{other.row.twin}'" if other.row.twin else "none"
            what = f"the row '{row.id}' names the twin {other.place}, but the twin of that row is {back}"
            raise mistake(file, line, f"{what}; twins must be two different rows that name each other")
