"""Build rows of prompts from a table: ids, labels, texts by language, and the other columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from babelguard.corpus.header import METADATA
from babelguard.corpus.reading.meaning import Meaning
from babelguard.corpus.reading.names import ENGLISH_NAMES, language_value
from babelguard.corpus.reading.table import Record, Table, listed
from babelguard.corpus.schema import Row
from babelguard.corpus.text import casefolded, clean
from babelguard.errors import UserError
from babelguard.judges.base import EXPECTED

# Names of splits in published files.
_SPLIT_OF = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLIT_OF |= dict.fromkeys(("validation", "valid", "val", "dev"), "validation")


class PlacedRow(NamedTuple):
    """A row and the place of its first record in the file."""

    row: Row
    place: int


@dataclass(frozen=True)
class Assembled:
    """The rows of a file.

    Attributes:
        rows: The rows, in the order of the file.
        made_ids: Whether the ids were made from the positions of the rows.
        empty: Number of records without a prompt in the selected languages, which are left out.
        unlabelled: Number of records without a label, which are left out.
        other_language: Number of records in no known language, which are left out if languages are selected.
    """

    rows: tuple[PlacedRow, ...]
    made_ids: bool
    empty: int
    unlabelled: int = 0
    other_language: int = 0

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the rows, in the order of their first text."""
        return tuple(dict.fromkeys(code for row, _ in self.rows for code in row.texts))

    @property
    def missing(self) -> dict[str, int]:
        """Number of rows without a text, by language."""
        counts = Counter(code for row, _ in self.rows for code in row.texts)
        return {code: len(self.rows) - counts[code] for code in self.languages if counts[code] < len(self.rows)}

    @property
    def duplicates(self) -> dict[str, int]:
        """Number of texts that occur before, by language."""
        seen: set[tuple[str, str]] = set()
        found: Counter[str] = Counter()
        for row, _ in self.rows:
            for code, text in row.texts.items():
                key = (code, casefolded(text))
                found[code] += key in seen
                seen.add(key)
        return {code: count for code, count in found.items() if count}


class _Item(NamedTuple):
    """A record with its number in the file, its label and its prompts."""

    number: int
    record: Record
    label: str | None
    texts: dict[str, str]


def assemble(table: Table, meaning: Meaning, languages: Sequence[str] | None = None) -> Assembled:
    """Build the rows of a table.

    Args:
        table: The file.
        meaning: What its columns mean.
        languages: Languages to read, or None for all. Others are not looked at.

    Raises:
        UserError: If the file has none of the languages or no prompt, or a text or label cannot be used.
    """
    items = list(_long(table, meaning, languages) if meaning.language else _wide(table, meaning, languages))
    given = [item for item in items if item.texts]
    kept = [item for item in given if item.label is not None]
    if not kept:
        what = "no row has both a prompt and a label; set `columns` or `label_column`"
        raise UserError(f"{table.described()}, but {what}.")
    groups = _grouped(table, meaning, kept) if meaning.language else [[item] for item in kept]
    made_ids = not _ids_are_unique(meaning, groups)
    rows = []
    for group in groups:
        first = group[0].record
        texts = {code: text for item in group for code, text in item.texts.items()}
        labels = {item.label for item in group if item.label is not None}
        if len(labels) > 1:
            name = first.cells[meaning.id] if meaning.id else ""
            raise table.mistake(
                first, f"the row '{name}' is harmful in one language and harmless in another; correct it"
            )
        row_id = str(group[0].number) if made_ids or meaning.id is None else _encodable(clean(first.cells[meaning.id]))
        rows.append(PlacedRow(Row(row_id, labels.pop(), texts, **_fields(table, meaning, first)), first.place))
    unknown = (
        sum(language_value(one.cells[meaning.language].strip()) is None for one in table.records)
        if meaning.language
        else 0
    )
    return Assembled(tuple(rows), made_ids, len(items) - len(given), len(given) - len(kept), unknown)


def _wide(table: Table, meaning: Meaning, languages: Sequence[str] | None) -> Iterator[_Item]:
    columns = {code: name for code, name in meaning.texts.items() if languages is None or code in languages}
    if not columns:
        have = ", ".join(meaning.texts)
        raise _absent(table, languages or (), have)
    for number, record in enumerate(table.records, start=1):
        texts = {code: _text(table, meaning, record, name) for code, name in columns.items()}
        yield _Item(number, record, meaning.label.of(record), {code: text for code, text in texts.items() if text})


def _long(table: Table, meaning: Meaning, languages: Sequence[str] | None) -> Iterator[_Item]:
    assert meaning.language is not None
    assert meaning.text is not None
    values = table.values(meaning.language)
    codes = {value: language_value(value) for value in values}
    if languages is not None and not set(languages) & set(codes.values()):
        raise _absent(table, languages, listed(values))
    for number, record in enumerate(table.records, start=1):
        value = record.cells[meaning.language].strip()
        code = codes.get(value)
        if languages is not None and code not in languages:
            continue
        if code is None:
            what = f"the language '{value}' is not known; select others with `languages`"
            raise table.mistake(record, what if value else "the language is empty; fill it or remove the row")
        text = _text(table, meaning, record, meaning.text)
        yield _Item(number, record, meaning.label.of(record), {code: text} if text else {})


def _absent(table: Table, languages: Sequence[str], have: str) -> UserError:
    wanted = ", ".join(languages)
    return UserError(f"The file {table.path} has no prompts in the selected `languages` ({wanted}); it has {have}.")


def _text(table: Table, meaning: Meaning, record: Record, column: str) -> str:
    cell = record.cells[column]
    if "\0" in cell or any("\ud800" <= char <= "\udfff" for char in cell):
        raise table.mistake(record, f"the text '{column}' contains a NUL or half a surrogate pair; remove it")
    text = clean(cell)
    before = clean(record.cells[meaning.context]) if text and meaning.context else ""
    return f"{before}\n\n---\n\n{text}" if before else text  # as HarmBench does


def _grouped(table: Table, meaning: Meaning, items: Sequence[_Item]) -> list[list[_Item]]:
    """Put the languages of one prompt together: by id, or else by the English text. Without either, each is a row."""
    lower = {name.strip().casefold(): name for name in table.columns}
    english = next((lower[name] for name in ENGLISH_NAMES if name in lower), None)
    for column in (meaning.id, english):
        if column is None or column == meaning.text:
            continue
        groups: dict[str, list[_Item]] = {}
        for k, item in enumerate(items):
            groups.setdefault(clean(item.record.cells[column]) or f"\0{k}", []).append(item)
        codes = [[code for item in group for code in item.texts] for group in groups.values()]
        if len(groups) < len(items) and all(len(set(found)) == len(found) for found in codes):
            return list(groups.values())
    return [[item] for item in items]


def _ids_are_unique(meaning: Meaning, groups: Sequence[Sequence[_Item]]) -> bool:
    if meaning.id is None:
        return False
    ids = [clean(group[0].record.cells[meaning.id]) for group in groups]
    return all(ids) and len(set(ids)) == len(ids)


def _fields(table: Table, meaning: Meaning, record: Record) -> dict[str, Any]:
    """Return the fields of a row: those of babelguard's format, and all other columns in `extra`."""
    found: dict[str, Any] = {name: None for name in METADATA}
    extra = {name: cell for name, cell in record.cells.items() if cell and name not in meaning.used}
    for name, column in meaning.fields.items():
        value = _encodable(clean(record.cells[column]))
        if name == "split" and value:
            split = _SPLIT_OF.get(value.casefold())
            if split is None:
                extra[column] = value
            found[name] = split
        elif name == "expected" and value not in ("", *EXPECTED):
            extra[column] = value
        else:
            found[name] = value or None
    return found | {"extra": extra or None}


def _encodable(text: str) -> str:
    """Replace halves of surrogate pairs, which cannot be written as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
