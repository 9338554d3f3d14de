"""Say in one line what a file was taken for."""

from __future__ import annotations

from babelguard.corpus.reading.assemble import Assembled
from babelguard.corpus.reading.meaning import Meaning
from babelguard.corpus.reading.table import Table, listed
from babelguard.judges import LABELS
from babelguard.languages import display_name


def describe_file(table: Table, meaning: Meaning, assembled: Assembled) -> str:
    """Say what a file was taken for."""
    rows = [row for row, _ in assembled.rows]
    counts = [f"{count} {label}" for label in LABELS if (count := sum(row.label == label for row in rows))]
    parts = [f"{_rows(len(rows))} ({', '.join(counts)})"]
    if meaning.label.column and not meaning.is_own_format:
        parts.append(meaning.label.described())
    codes = assembled.languages
    if meaning.language is not None:
        parts.append(f"{len(codes)} languages ({', '.join(codes)}) from the column '{meaning.language}'")
    elif len(codes) == 1:
        parts.append(f"{display_name(codes[0])} from the column '{meaning.texts[codes[0]]}'")
    else:
        parts.append(f"{len(codes)} languages ({', '.join(codes)})")
    if assembled.made_ids:
        why = "" if meaning.id is None else f" because the column '{meaning.id}' is not unique"
        parts.append(f"ids from the row numbers{why}")
    if duplicates := assembled.duplicates:
        parts.append(f"duplicate texts kept: {_counted(duplicates)}")
    if missing := assembled.missing:
        parts.append(f"rows without a text: {_counted(missing)}")
    if assembled.empty:
        parts.append(f"{_rows(assembled.empty)} without a prompt left out")
    if assembled.unlabelled:
        parts.append(f"{_rows(assembled.unlabelled)} without a label left out")
    if assembled.other_language:
        parts.append(f"{_rows(assembled.other_language)} in no known language left out")
    others = [name for name in table.columns if name not in meaning.used]
    if others and not meaning.is_own_format:
        parts.append(f"other columns: {listed(others)}")
    where = f"{table.path.name}, {table.part}," if table.part else table.path.name
    return f"{where} was read as {meaning.name}: {'; '.join(parts)}."


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {code}" for code, count in counts.items())
