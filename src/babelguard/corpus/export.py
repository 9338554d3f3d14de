"""Write a corpus as CSV, JSONL, or a folder that `datasets.load_dataset` opens with a configuration a language."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from babelguard.corpus.card import dataset_card
from babelguard.corpus.checking.columns import column_of
from babelguard.corpus.schema import METADATA, SPLITS, Corpus, Row
from babelguard.errors import UserError

FORMATS = ("csv", "jsonl", "hf")
# Rows without a split still need a file.
_UNSPLIT = "prompts"


def export_corpus(
    corpus: Corpus,
    output: Path,
    kind: str,
    *,
    languages: Sequence[str] | None = None,
    split: str | None = None,
    shipped: bool = False,
) -> list[Path]:
    """Write a corpus into a new or empty folder, a file a split.

    Args:
        corpus: What is written. A split is written in those of the languages that all of its rows have.
        output: The folder.
        kind: `csv`, `jsonl` or `hf`.
        languages: Codes; None: all. Each must be in one of the splits at least.
        split: One split; None: all.
        shipped: Whether it is the corpus that ships, whose facts the card of `hf` states.

    Returns:
        The files.

    Raises:
        UserError: for an unknown format, split or language, a folder with something in it, or one that cannot be
            written.
    """
    if kind not in FORMATS:
        raise UserError(f"There is no format '{kind}'; choose {', '.join(FORMATS)}.")
    parts = _parts(corpus, languages, split)
    try:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise UserError(f"{output} exists and is not an empty folder; choose another --output or remove it.")
        files = _hf_files(parts, shipped) if kind == "hf" else _plain_files(parts, kind)
        for name, text in files.items():
            path = output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".part")
            partial.write_text(text, encoding="utf-8", newline="")
            os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"{output} could not be written ({error.strerror or error}); choose another --output."
        ) from None
    return [output / name for name in files]


def _parts(corpus: Corpus, languages: Sequence[str] | None, split: str | None) -> dict[str, Corpus]:
    if split is not None and split not in SPLITS:
        raise UserError(f"'{split}' is no split of a corpus; use one of {', '.join(SPLITS)}.")
    rows: dict[str, list[Row]] = {}
    for row in corpus.rows:
        if split is None or row.split == split:
            rows.setdefault(row.split or _UNSPLIT, []).append(row)
    if not rows:
        raise UserError(f"{corpus.name} has no rows of the split {split}; choose another.")
    parts = {name: Corpus.of(rows[name], corpus.name) for name in (*SPLITS, _UNSPLIT) if name in rows}
    if languages is None:
        return parts
    for code in languages:
        if all(code not in part.languages for part in parts.values()):
            have = sorted({code for part in parts.values() for code in part.languages})
            raise UserError(
                f"No split to export has the language '{code}' in all its rows; there is {', '.join(have)}."
            )
    chosen = {name: [code for code in languages if code in part.languages] for name, part in parts.items()}
    return {name: part.select(chosen[name]) for name, part in parts.items() if chosen[name]}


def _fields(row: Row, codes: Sequence[str]) -> dict[str, str]:
    fields = {"id": row.id, "label": row.label}
    fields |= {name: value for name in METADATA if (value := getattr(row, name)) is not None}
    return fields | {column_of(code): row.texts[code] for code in codes}


def _plain_files(parts: dict[str, Corpus], kind: str) -> dict[str, str]:
    write: Callable[[Corpus], str] = _csv if kind == "csv" else _jsonl
    return {f"{name}.{kind}": write(part) for name, part in parts.items()}


def _csv(part: Corpus) -> str:
    rows = [_fields(row, part.languages) for row in part.rows]
    used = [name for name in METADATA if any(name in row for row in rows)]
    file = io.StringIO(newline="")
    columns = ["id", "label", *used, *map(column_of, part.languages)]
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _lines(rows: Sequence[Mapping[str, str | None]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _jsonl(part: Corpus) -> str:
    return _lines([_fields(row, part.languages) for row in part.rows])


def _hf_files(parts: dict[str, Corpus], shipped: bool) -> dict[str, str]:
    # One set of columns in all files of a configuration, or load_dataset refuses them.
    rows = [row for part in parts.values() for row in part.rows]
    used = [name for name in METADATA if any(getattr(row, name) is not None for row in rows)]
    codes = list(dict.fromkeys(code for part in parts.values() for code in part.languages))
    fields = ["id", "label", *used]
    columns = {"all": [*fields, *map(column_of, codes)]} | {code: [*fields, "language", "text"] for code in codes}
    files: dict[str, str] = {"README.md": dataset_card(parts, codes, columns, shipped)}
    for split, part in parts.items():
        plain = [{name: getattr(row, name) for name in fields} for row in part.rows]
        wide = [
            known | {column_of(code): row.texts[code] if code in part.languages else None for code in codes}
            for known, row in zip(plain, part.rows, strict=True)
        ]
        files[f"data/all/{split}.jsonl"] = _lines(wide)
        for code in part.languages:
            texts = [
                known | {"language": code, "text": row.texts[code]} for known, row in zip(plain, part.rows, strict=True)
            ]
            files[f"data/{code}/{split}.jsonl"] = _lines(texts)
    return files
