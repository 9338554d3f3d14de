"""Read files of prompts to measure on. Nothing that only matters to the authors of a file is checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from babelguard.corpus.header import column_of
from babelguard.corpus.reading.assemble import Assembled, assemble
from babelguard.corpus.reading.describe import describe_file
from babelguard.corpus.reading.formats import read_table
from babelguard.corpus.reading.guesses import check_columns, check_language
from babelguard.corpus.reading.meaning import Meaning, understand
from babelguard.corpus.reading.options import PromptOptions
from babelguard.corpus.reading.table import Table
from babelguard.corpus.schema import Corpus, Row
from babelguard.errors import UserError
from babelguard.languages import language


@dataclass(frozen=True)
class Prompts:
    """Prompts to measure on.

    Attributes:
        corpus: The rows. A row may lack some of the languages.
        languages: The languages, in order.
        name: Name for tables and folders.
        lines: One line per file: what it was taken for.
        is_own_format: Whether the only file is in babelguard's format.
    """

    corpus: Corpus
    languages: tuple[str, ...]
    name: str
    lines: tuple[str, ...]
    is_own_format: bool


def read_prompts(
    paths: Sequence[Path],
    options: PromptOptions | None = None,
    languages: Sequence[str] | None = None,
    limit: int | None = None,
) -> Prompts:
    """Read files of prompts.

    Args:
        paths: The files. The ids of several files begin with the name of their file.
        options: What the user says about the columns. With several files, each uses the columns that it has.
        languages: Languages to read, or None for all.
        limit: Rows per label and language, or None for all. The first rows are kept.

    Raises:
        UserError: If a file cannot be read, or the meaning of its columns is not known.
    """
    options = options or PromptOptions()
    codes = None if languages is None else _known(languages)
    if limit is not None and limit < 1:
        raise UserError(f"The `limit` of rows per label is {limit}; it must be at least 1.")
    tables = [read_table(path, options.named) for path in paths]
    check_columns(tables, options)
    found = [_read(table, options, label, codes) for table, label in _with_labels(tables, options)]
    rows: list[Row] = []
    for prefix, (_, assembled) in zip(_prefixes(paths), found, strict=True):
        rows += [_prefixed(row, prefix) for row, _ in assembled.rows]
    have = dict.fromkeys(code for _, assembled in found for code in assembled.languages)
    if codes is not None and (absent := next((code for code in codes if code not in have), None)):
        where = f"The file {paths[0]} has no" if len(paths) == 1 else "None of the files has"
        raise UserError(f"{where} prompts in the language '{absent}'; available languages: {', '.join(have)}.")
    chosen = tuple(codes or have)
    name = "+".join(dict.fromkeys(path.stem for path in paths))
    label_of_corpus = paths[0].name if len(paths) == 1 else name
    corpus = Corpus.of(_first(rows, chosen, limit), label_of_corpus)
    lines = tuple(describe_file(table, *one) for table, one in zip(tables, found, strict=True))
    own = len(found) == 1 and found[0][0].is_own_format
    return Prompts(corpus, chosen, name[:80], lines, own)


def _read(
    table: Table, options: PromptOptions, label: str | None, codes: Sequence[str] | None
) -> tuple[Meaning, Assembled]:
    meaning = understand(table, options, label, codes)
    if codes is not None and meaning.assumed and not set(meaning.texts) & set(codes):
        column = meaning.texts[meaning.assumed]
        raise UserError(
            f"The file {table.path} has one column of prompts ('{column}'), taken as English; set `columns`, for example "
            f"{column_of(codes[0])}={column}."
        )
    assembled = assemble(table, meaning, codes)
    check_language(table, meaning, assembled)
    return meaning, assembled


def _known(languages: Sequence[str]) -> tuple[str, ...]:
    if not languages:
        raise UserError("No language is selected; name at least one in `languages`.")
    return tuple(dict.fromkeys(language(name).code for name in languages))


def _with_labels(tables: Sequence[Table], options: PromptOptions) -> list[tuple[Table, str | None]]:
    """Return each file with the label that the user gives it."""
    labels = options.labels
    if len(labels) <= 1:
        label = labels[0] if labels else None
        for table in tables if label is not None and len(tables) > 1 else ():
            _check_label(table, options, label)
        return [(table, label) for table in tables]
    if len(labels) != len(tables):
        raise UserError(
            f"There are {len(labels)} labels for {len(tables)} files; give one `label` for all files or one per file, in the "
            "same order."
        )
    return list(zip(tables, labels, strict=True))


def _check_label(table: Table, options: PromptOptions, label: str | None) -> None:
    """Check that one label for several files does not contradict a file that has labels of its own."""
    try:
        own = understand(table, replace(options, labels=()))
    except UserError:
        return
    if own.label.label != label:
        what = f"labels in the column '{own.label.column}'" if own.label.column else f"only {own.label.label} prompts"
        raise UserError(
            f"The file {table.path} ({own.name}) has {what}, so the `label` {label} cannot be used for all files; give one per "
            "file, in the same order."
        )


def _prefixes(paths: Sequence[Path]) -> list[str]:
    """Return what the ids of each file begin with. Nothing if there is one file."""
    if len(paths) == 1:
        return [""]
    seen: Counter[str] = Counter()
    found = []
    for path in paths:
        seen[path.stem] += 1
        found.append(f"{path.stem}-{seen[path.stem]}/" if seen[path.stem] > 1 else f"{path.stem}/")
    return found


def _prefixed(row: Row, prefix: str) -> Row:
    """Put the prefix of its file in front of a row's id and of its twin's."""
    return replace(row, id=f"{prefix}{row.id}", twin=row.twin and f"{prefix}{row.twin}") if prefix else row


def _first(rows: Sequence[Row], languages: Sequence[str], limit: int | None) -> list[Row]:
    """Keep the languages, and the first texts per label and language."""
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for row in rows:
        texts = {}
        for code in languages:
            if code in row.texts:
                seen[row.label, code] += 1
                if limit is None or seen[row.label, code] <= limit:
                    texts[code] = row.texts[code]
        if texts:
            kept.append(replace(row, texts=texts))
    return kept
