"""Write a corpus as CSV, JSONL, or a folder that `datasets.load_dataset` opens with a configuration a language."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from babelguard.corpus.card import dataset_card
from babelguard.corpus.schema import METADATA, SPLITS, Corpus, Row, column_of, language_code
from babelguard.errors import UserError
from babelguard.screen import Screen, Silent

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
    screen: Screen | None = None,
) -> list[Path]:
    """Write a corpus into a new or empty folder, a file a split.

    Args:
        corpus: What is written. A split is written in those of the languages that all of its rows have, and not at
            all where none of them is.
        output: The folder.
        kind: `csv`, `jsonl` or `hf`.
        languages: Codes; None: all. All rows of one of the splits at least must have each.
        split: One split; None: all.
        shipped: Whether it is the corpus that ships, whose facts the card of `hf` states.
        screen: Is told which languages of which split are left out; None: silent.

    Returns:
        The files.

    Raises:
        UserError: for an unknown format, split or language, an empty choice of languages, a split whose rows share
            none, a folder with something in it, or one that cannot be written.
    """
    if kind not in FORMATS:
        raise UserError(f"There is no format '{kind}'; choose {', '.join(FORMATS)}.")
    whole = _splits(corpus, split)
    parts = _parts(whole, languages, corpus.name)
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
    for name, part in whole.items():
        if left := _left_out(part, parts.get(name), languages):
            (screen or Silent()).say(f"Left out of {name}, because not all its rows have them: {', '.join(left)}.")
    return [output / name for name in files]


def _splits(corpus: Corpus, split: str | None) -> dict[str, Corpus]:
    if split is not None and split not in SPLITS:
        raise UserError(f"'{split}' is no split of a corpus; use one of {', '.join(SPLITS)}.")
    rows: dict[str, list[Row]] = {}
    for row in corpus.rows:
        if split is None or row.split == split:
            rows.setdefault(row.split or _UNSPLIT, []).append(row)
    if not rows:
        raise UserError(f"{corpus.name} has no rows of the split {split}; choose another.")
    return {name: Corpus.of(rows[name], corpus.name) for name in (*SPLITS, _UNSPLIT) if name in rows}


def _parts(whole: Mapping[str, Corpus], languages: Sequence[str] | None, name: str) -> dict[str, Corpus]:
    have = ", ".join(sorted({code for part in whole.values() for code in part.languages})) or "none"
    if languages is None:
        for split, part in whole.items():
            if not part.languages:
                rows = "rows without a split" if split == _UNSPLIT else f"rows of the split {split}"
                raise UserError(
                    f"No language is in all {rows} of {name}; export its files one by one, or give all rows one in common."
                )
        return dict(whole)
    if not languages:
        raise UserError(f"No language is chosen; {name} has {have}.")
    codes = [language_code(given) for given in languages]
    for code in codes:
        if all(code not in part.languages for part in whole.values()):
            raise UserError(f"No split to export has the language '{code}' in all its rows; there is {have}.")
    chosen = {split: [code for code in codes if code in part.languages] for split, part in whole.items()}
    return {split: part.select(chosen[split]) for split, part in whole.items() if chosen[split]}


def _left_out(whole: Corpus, written: Corpus | None, languages: Sequence[str] | None) -> list[str]:
    """Languages that were asked for, or that some rows have, and that are not written because others lack them."""
    some = sorted({code for row in whole.rows for code in row.texts})
    wanted = some if languages is None else dict.fromkeys(map(language_code, languages))
    return [code for code in wanted if written is None or code not in written.languages]


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
