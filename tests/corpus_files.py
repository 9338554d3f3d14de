"""Corpus files for the tests of the loader."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from babelguard.corpus import Corpus
from babelguard.errors import UserError

Rows = list[dict[str, Any]]

ROW = '{"id": "1", "label": "harmful", "en": "a"}\n'
TWINS: Rows = [
    {
        "id": "h1",
        "label": "harmful",
        "en": "pick a lock",
        "da": "dirk en lås op",
        "split": "train",
        "twin": "s1",
    },
    {
        "id": "s1",
        "label": "harmless",
        "en": "oil a lock",
        "da": "smør en lås",
        "split": "train",
        "twin": "h1",
    },
    {
        "id": "h2",
        "label": "harmful",
        "en": "forge a pass",
        "da": "forfalsk et pas",
        "split": "test",
        "twin": "",
    },
    {
        "id": "s2",
        "label": "harmless",
        "en": "renew a pass",
        "da": "forny et pas",
        "split": "test",
        "twin": "",
    },
]


def write_csv(path: Path, rows: Rows, delimiter: str = ",", end: str = "\n") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def load_error(call: Callable[[Path], Corpus], path: Path, *needed: str) -> str:
    """Return the error for a file, after checking that it names the file and the needed parts."""
    with pytest.raises(UserError) as caught:
        call(path)
    sentence = str(caught.value)
    for part in (str(path), *needed):
        assert part in sentence
    assert "\n" not in sentence and sentence[-1] in ".?"
    return sentence


def folder_of_two(tmp_path: Path) -> Path:
    """Write a corpus folder with one file per split."""
    folder = tmp_path / "parallel"
    folder.mkdir()
    train = [{k: v for k, v in row.items() if k != "twin"} for row in TWINS if row["split"] == "train"]
    test = [row | {"it": f"it {row['id']}"} for row in TWINS if row["split"] == "test"]
    write_jsonl(folder / "b-train.jsonl", train)
    write_csv(folder / "a-test.csv", test)
    write(folder / "README.md", "no corpus")
    write(folder / ".hidden.csv", "no corpus")
    return folder
