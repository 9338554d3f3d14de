"""Export a corpus as CSV, as JSONL, or as a folder for `datasets.load_dataset` with one configuration per language."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from babelguard.corpus.card import dataset_card
from babelguard.corpus.header import METADATA, column_of, language_code
from babelguard.corpus.schema import SPLITS, Corpus, Row, check_split
from babelguard.errors import UserError
from babelguard.files import write_text
from babelguard.screen import Screen, Silent

FORMATS = ("csv", "jsonl", "hf")
# File name for rows without a split.
_UNSPLIT = "prompts"


def export_corpus(
    corpus: Corpus,
    output: Path,
    kind: str,
    *,
    languages: Sequence[str] | None = None,
    split: str | None = None,
    built_in: bool = False,
    screen: Screen | None = None,
) -> list[Path]:
    """Write a corpus into a new or empty folder, with one file per split.

    Args:
        corpus: The corpus. Each split is written in the selected languages that all of its rows have. A split without
            such a language is skipped.
        output: The folder.
        kind: Format: `csv`, `jsonl` or `hf`.
        languages: Codes, or None for all. For each one, there must be a split whose rows all have it.
        split: One split, or None for all.
        built_in: Whether this is the built-in corpus. If so, the dataset card of the format `hf` describes it.
        screen: Where languages that are left out are reported.

    Returns:
        The files.

    Raises:
        UserError: If the format, split or a language is unknown, no language is selected, the rows of a split have no
            language in common, or the folder is not empty or cannot be written.
    """
    if kind not in FORMATS:
        raise UserError(f"There is no format '{kind}'; choose one of {', '.join(FORMATS)}.")
    whole = _splits(corpus, split)
    parts = _parts(whole, languages, corpus.name)
    try:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise UserError(f"{output} exists and is not an empty folder; choose another `output` or remove it.")
        files = _hf_files(parts, built_in) if kind == "hf" else _plain_files(parts, kind)
        for name, text in files.items():
            write_text(output / name, text)
    except OSError as error:
        raise UserError(
            f"{output} could not be written ({error.strerror or error}); choose another `output`."
        ) from None
    for name, part in whole.items():
        if left := _left_out(part, parts.get(name), languages):
            (screen or Silent()).say(
                f"Languages left out of {name}, because not all of its rows have them: {', '.join(left)}."
            )
    return [output / name for name in files]


def _splits(corpus: Corpus, split: str | None) -> dict[str, Corpus]:
    if split is not None:
        check_split(split)
    rows: dict[str, list[Row]] = {}
    for row in corpus.rows:
        if split is None or row.split == split:
            rows.setdefault(row.split or _UNSPLIT, []).append(row)
    if not rows:
        raise UserError(f"{corpus.name} has no rows in the split '{split}'; choose another `split`.")
    return {name: Corpus.of(rows[name], corpus.name) for name in (*SPLITS, _UNSPLIT) if name in rows}


def _parts(whole: Mapping[str, Corpus], languages: Sequence[str] | None, name: str) -> dict[str, Corpus]:
    have = ", ".join(sorted({code for part in whole.values() for code in part.languages})) or "none"
    if languages is None:
        for split, part in whole.items():
            if not part.languages:
                rows = "without a split" if split == _UNSPLIT else f"of the split '{split}'"
                raise UserError(
                    f"The rows {rows} of {name} have no language in common; export its files one by one, or add a common "
                    "language."
                )
        return dict(whole)
    if not languages:
        raise UserError(f"No language is selected; {name} has {have}.")
    codes = [language_code(given) for given in languages]
    for code in codes:
        if all(code not in part.languages for part in whole.values()):
            raise UserError(
                f"No exported split has the language '{code}' in all of its rows; available languages: {have}."
            )
    chosen = {split: [code for code in codes if code in part.languages] for split, part in whole.items()}
    return {split: part.select(chosen[split]) for split, part in whole.items() if chosen[split]}


def _left_out(whole: Corpus, written: Corpus | None, languages: Sequence[str] | None) -> list[str]:
    """Return selected languages that are not written because some rows lack them."""
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


def _hf_files(parts: dict[str, Corpus], built_in: bool) -> dict[str, str]:
    # load_dataset requires the same columns in all files of a configuration.
    rows = [row for part in parts.values() for row in part.rows]
    used = [name for name in METADATA if any(getattr(row, name) is not None for row in rows)]
    codes = list(dict.fromkeys(code for part in parts.values() for code in part.languages))
    fields = ["id", "label", *used]
    columns = {"all": [*fields, *map(column_of, codes)]} | {code: [*fields, "language", "text"] for code in codes}
    files: dict[str, str] = {"README.md": dataset_card(parts, codes, columns, built_in)}
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
