"""Decide what the columns of a file mean, by the user's options, by published files and by common names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from babelguard.corpus.header import METADATA, column_language, column_of, language_code
from babelguard.corpus.reading.known_files import KnownFile, recognise
from babelguard.corpus.reading.labels import LabelRule, label_rule
from babelguard.corpus.reading.names import (
    ID_NAMES,
    LABEL_NAMES,
    LANGUAGE_NAMES,
    TEXT_NAMES,
    column_code,
    language_value,
)
from babelguard.corpus.reading.options import ID, LANGUAGE, TEXT, PromptOptions
from babelguard.corpus.reading.table import Table, listed
from babelguard.errors import UserError

OWN_FORMAT = "babelguard's format"
_NO_TEXT = re.compile(r"[\d\s.,:%/+-]*|true|false|nan|null|none", re.IGNORECASE)
# Headerless columns with fewer words per cell, on average, are not prompts.
_FEW_CHARACTERS = 12


@dataclass(frozen=True)
class Meaning:
    """What the columns of a file mean.

    Attributes:
        name: What the file was taken for.
        label: How its rows are labelled.
        texts: Column of the prompts by language; empty for a file with one row per language.
        text, language: Columns of the prompts and the languages of a file with one row per language.
        id: Column of the row ids.
        context: Column of a text that precedes the prompt.
        fields: Columns of the fields of a row (`split`, `category`, ...).
        assumed: The language of a column of prompts that does not say it.
    """

    name: str
    label: LabelRule
    texts: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    language: str | None = None
    id: str | None = None
    context: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    assumed: str | None = None

    @property
    def is_own_format(self) -> bool:
        """Whether the file is in babelguard's own format."""
        return self.name == OWN_FORMAT

    @property
    def used(self) -> set[str]:
        """All columns with a meaning."""
        columns = (*self.texts.values(), self.text, self.language, self.id, self.context, self.label.column)
        return {name for name in (*columns, *self.fields.values()) if name is not None}


def is_own_format(table: Table) -> bool:
    """Whether a table has the columns of babelguard's own format."""
    plain = {"id", "label", *METADATA}
    languages = [name for name in table.columns if column_language(name) is not None]
    return {"id", "label"} <= set(table.columns) and bool(languages) and set(table.columns) <= {*plain, *languages}


def understand(
    table: Table, options: PromptOptions, label: str | None = None, languages: Sequence[str] | None = None
) -> Meaning:
    """Decide what the columns of a file mean.

    Args:
        table: The file.
        options: What the user says. Columns that the file does not have are ignored.
        label: The label of the whole file, if the user names one.
        languages: The languages that the user selects. A single one is the language of a single prompt column.

    Raises:
        UserError: If the prompts or the labels are not found.
    """
    own = is_own_format(table)
    known = None if own else recognise(table)
    given = {key: found for key, name in options.columns.items() if (found := table.find(name)) is not None}
    texts = {language_code(key): name for key, name in given.items() if key not in (ID, TEXT, LANGUAGE)}
    text = language = None
    assumed: str | None = None
    if not texts:
        language = given.get(LANGUAGE) or _language_column(table)
        wide = {} if language is not None or TEXT in given else _language_columns(table, own)
        text = given.get(TEXT) or _text_column(table, known, optional=bool(wide))
        if language is None:
            if text is not None and "en" not in wide:
                # Published files are in English. Another file may be in the only language that is selected.
                only = languages is not None and len(languages) == 1 and known is None and not wide
                assumed = languages[0] if only and languages else "en"
                texts[assumed] = text
            texts, text = texts | wide, None
    elif (language := _language_column(table)) and len(table.values(language)) > 1:
        raise UserError(
            f"The file {table.path} has one row per language (column '{language}': {listed(table.values(language))}); set "
            f"`columns` text={next(iter(texts.values()))} and choose with `languages`."
        )
    else:
        language = None
    context = None
    if known is not None and known.context is not None and table.find(known.text or "") in (text, *texts.values()):
        context = table.find(known.context)
    meaning = Meaning(
        name=OWN_FORMAT if own else known.name if known is not None else _kind(table),
        label=label_rule(table, known, options, label),
        texts=texts,
        text=text,
        language=language,
        id=given.get(ID) or _id_column(table, known, texts, own),
        context=context,
        fields={low: column for column in table.columns if (low := column.strip().casefold()) in METADATA},
        assumed=assumed,
    )
    if nested := [name for name in (*texts.values(), text, language) if name in table.nested]:
        raise UserError(
            f"The column '{nested[0]}' of {table.path} holds lists or objects, not texts; write one text per row."
        )
    return meaning


def _kind(table: Table) -> str:
    if table.header:
        return "a file of prompts"
    return "plain text" if table.path.suffix.lower() == ".txt" else "a file without a header"


def _language_column(table: Table) -> str | None:
    """Return the column that holds the language of each row, if most of its values are languages."""
    for name in table.columns:
        values = table.values(name) if name.strip().casefold() in LANGUAGE_NAMES else []
        if values and 2 * sum(language_value(value) is not None for value in values) >= len(values):
            return name
    return None


def _language_columns(table: Table, own: bool) -> dict[str, str]:
    """Return the columns that are named by a language and hold texts."""
    if own:
        return {code: name for name in table.columns if (code := column_language(name)) is not None}
    found: dict[str, str] = {}
    for name in table.columns:
        code = column_code(name)
        if code is None or not _holds_texts(table, name):
            continue
        if code in found:
            raise UserError(
                f"The columns '{found[code]}' and '{name}' of {table.path} have the same language; set `columns`, for example "
                f"{column_of(code)}={name}."
            )
        found[code] = name
    lower = {name.casefold(): name for name in table.columns}
    if found and "id" not in found and "id" in lower and _holds_sentences(table, lower["id"]):
        found["id"] = lower["id"]  # Indonesian, not the ids of the rows
    return found


def _holds_texts(table: Table, column: str) -> bool:
    return any(not _NO_TEXT.fullmatch(value) for value in table.values(column)[:1000])


def _holds_sentences(table: Table, column: str) -> bool:
    values = table.values(column)[:1000]
    return bool(values) and 2 * sum(len(value.split()) > 1 for value in values) > len(values)


def _text_column(table: Table, known: KnownFile | None, optional: bool) -> str | None:
    if known is not None and known.text is not None:
        return table.find(known.text)
    found = [name for name in table.columns if name.strip().casefold() in TEXT_NAMES]
    if len(found) == 1:
        return found[0]
    if optional:
        return None
    if len(table.columns) == 1 and _holds_texts(table, table.columns[0]):
        return table.columns[0]
    if not table.header and not found:
        found = [name for name in table.columns if _mean_length(table, name) >= _FEW_CHARACTERS]
        if len(found) == 1:
            return found[0]
    example = found[0] if found else max(_candidates(table), key=lambda name: _mean_length(table, name))
    if found:
        raise UserError(
            f"{table.described()}, and several can hold the prompts ({listed(found)}); set `columns`, for example en={example}."
        )
    known_column = "no column of texts was found" if not table.header else "none is known as a prompt column"
    key = TEXT if _language_column(table) else "en"
    raise UserError(f"{table.described()}, and {known_column}; set `columns`, for example {key}={example}.")


def _candidates(table: Table) -> list[str]:
    """Columns whose names are not those of ids, labels or languages."""
    others = (*ID_NAMES, *LABEL_NAMES, *LANGUAGE_NAMES)
    return [name for name in table.columns if name.strip().casefold() not in others] or list(table.columns)


def _mean_length(table: Table, column: str) -> float:
    values = table.values(column)[:1000]
    texts = [value for value in values if not _NO_TEXT.fullmatch(value)]
    return sum(map(len, texts)) / len(values) if values else 0.0


def _id_column(table: Table, known: KnownFile | None, texts: Mapping[str, str], own: bool) -> str | None:
    if own:
        return "id"
    if known is not None and known.id is not None:
        return table.find(known.id)
    given = {name.strip().casefold(): name for name in table.columns if name not in texts.values()}
    return next((given[name] for name in ID_NAMES if name in given), None)
