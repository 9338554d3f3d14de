"""Read JSON and JSONL: lists of objects or strings, objects of equally long lists, and objects that contain one list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from babelguard.corpus.reading.table import Record, Table, listed
from babelguard.errors import UserError
from babelguard.files import LINE_END, parse_json, unique_keys

# The column of a list of strings.
TEXT = "text"
# Names under which an object holds the list of rows.
_CONTAINERS = (
    "data",
    "prompts",
    "rows",
    "items",
    "examples",
    "instances",
    "questions",
    "behaviors",
    "goals",
    "records",
)
_ADVICE = "write a list of objects or of strings"


def read_json(path: Path, text: str, *, one_value: bool = False) -> Table:
    """Read a JSON file. A file with one JSON value per line is read as JSONL, unless `one_value` is set.

    Raises:
        UserError: If it is not valid JSON, or the rows cannot be found in it.
    """
    try:
        value = _parse(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and not one_value:
            return read_json_lines(path, text)
        what = f"{error.msg}, line {error.lineno}, column {error.colno}"
        raise UserError(f"The file {path} is not valid JSON ({what}); check that it is complete.") from None
    except ValueError as error:
        raise UserError(f"The file {path} is not valid JSON ({error}); {_ADVICE}.") from None
    items, part = _items(path, value)
    return table_of_objects(path, list(enumerate(items, start=1)), unit="item", part=part)


def read_json_lines(path: Path, text: str) -> Table:
    """Read a file with one JSON object or string per line. A file that is one JSON list is read as JSON.

    Raises:
        UserError: If a line is not valid JSON, or neither an object nor a string.
    """
    if text.lstrip().startswith("[") and text.rstrip().endswith("]"):
        return read_json(path, text, one_value=True)
    rows: list[tuple[int, Any]] = []
    for line, source in enumerate(LINE_END.split(text), start=1):
        if not source.strip():
            continue
        try:
            rows.append((line, _parse(source)))
        except json.JSONDecodeError as error:
            what = f"this is not valid JSON ({error.msg}, column {error.colno}); write one object per line"
            raise UserError(f"In line {line} of {path}, {what}.") from None
        except ValueError as error:
            raise UserError(f"In line {line} of {path}, this is not valid JSON ({error}).") from None
    return table_of_objects(path, rows, unit="line")


def table_of_objects(path: Path, rows: Sequence[tuple[int, Any]], *, unit: str, part: str = "") -> Table:
    """Make a table of parsed rows, each an object or a string.

    Raises:
        UserError: If a row is something else, or objects and strings are mixed.
    """
    kind = str if rows and isinstance(rows[0][1], str) else dict
    columns: dict[str, None] = {TEXT: None} if kind is str else {}
    for place, row in rows:
        if not isinstance(row, kind):
            expected = "a string" if kind is str else "an object"
            raise UserError(f"In {unit} {place} of {path}, there is {_kind(row)} instead of {expected}; {_ADVICE}.")
        if isinstance(row, dict):
            columns |= dict.fromkeys(row)
    nested: set[str] = set()
    records = []
    for place, row in rows:
        given = {TEXT: row} if isinstance(row, str) else row
        cells = {}
        for name in columns:
            value = given.get(name)
            if isinstance(value, dict | list):
                nested.add(name)
            cells[name] = _cell(value)
        records.append(Record(place, cells))
    return Table(path, tuple(columns), records, unit=unit, nested=frozenset(nested), part=part)


def _items(path: Path, value: Any) -> tuple[list[Any], str]:
    """Find the rows in a parsed file. Returns them with a description of where they are."""
    if isinstance(value, list):
        return value, ""
    if not isinstance(value, dict):
        raise UserError(f"The file {path} holds {_kind(value)}; {_ADVICE}.")
    lists = {name: found for name, found in value.items() if isinstance(found, list)}
    if len(lists) == 1:
        ((name, rows),) = lists.items()
        if len(value) == 1 or name.casefold() in _CONTAINERS:
            return rows, f"the list '{name}'"
    lengths = {len(found) for found in lists.values()}
    plain = all(not isinstance(cell, dict | list) for found in lists.values() for cell in found)
    if len(lists) == len(value) > 1 and len(lengths) == 1 and plain:
        names = list(lists)
        return [dict(zip(names, cells, strict=True)) for cells in zip(*lists.values(), strict=True)], ""
    keys = listed(list(value)) or "no keys"
    raise UserError(f"The file {path} holds one JSON object ({keys}), and its rows cannot be found; {_ADVICE}.")


def _parse(text: str) -> Any:
    return parse_json(text, pairs=unique_keys, surrogates=True)


def _cell(value: Any) -> str:
    if value is None or value != value:  # pandas writes NaN where there is no value
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
