"""Errors of the loader about columns and cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corpus_files import ROW, TWINS, load_error, write, write_csv, write_jsonl

from babelguard.corpus import load_corpus, load_prompts
from babelguard.errors import visible

# Columns.


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("kr", "'ko' (Korean)"),
        ("korean", "'ko' (Korean)"),
        ("pt-BR", "'pt' (Portuguese)"),
        ("EN", "'en' (English)"),
        ("lable", "'label'"),
        ("Split", "'split'"),
        ("license", "'licence'"),
        ("qqqqqq", "use one of am, ar"),
        ("nb", "'no' (Norwegian)"),
        ("id_ID", "'id-ID' (Indonesian)"),
        ("ID", "'id'"),
        ("xx", "babelguard does not know this language"),
        ("swa", "see docs/extending.md"),
        ("ids", "remove the column, or add the language to languages.py"),
        ("text", "name it by its language, such as en"),
        ("Prompt", "name it by its language, such as en"),
        ("sep=", "remove this line"),
    ],
)
def test_unknown_column(tmp_path: Path, column: str, meant: str) -> None:
    row = {"id": "1", "label": "harmful", "en": "a", column: "b"}
    known = "neither a known language code nor one of id, label, split, expected, category, topic, twin, licence, maker"
    path = write_csv(tmp_path / "a.csv", [row])
    load_error(load_prompts, path, "line 1", f"the column '{column}' of {path} is {known}", meant)
    path = write(tmp_path / "a.jsonl", ROW + json.dumps(row | {"id": "2"}))
    load_error(load_prompts, path, "line 2", f"the column '{column}' of {path} is {known}", meant)


@pytest.mark.parametrize("column", ["xx", "swa", "ids"])
def test_nothing_is_suggested_for_short_column_names(tmp_path: Path, column: str) -> None:
    path = write_csv(tmp_path / "a.csv", [{"id": "1", "label": "harmful", "en": "a", column: "b"}])
    assert "did you mean" not in load_error(load_prompts, path, f"'{column}'")


@pytest.mark.parametrize("character", ["\u200f", "\ufeff", "\x1b", "\u2028"])
@pytest.mark.parametrize("field", ["id", "label", "split", "expected", "twin", "the column"])
def test_invisible_characters_are_named(tmp_path: Path, field: str, character: str) -> None:
    row = {"id": "one", "label": "harmful", "split": "test", "expected": "refuse", "twin": "two", "en": "a"}
    if field == "the column":
        row, named = row | {f"a{character}r": "b"}, f"the column 'a{character}r'"
    else:
        row[field] = f"{row[field][0]}{character}{row[field][1:]}"
        named = f"the field '{field}' of the row '{row['id']}'"
    for path in (write_csv(tmp_path / "a.csv", [row]), write_jsonl(tmp_path / "a.jsonl", [row])):
        load_error(
            load_corpus, path, visible(named), f"contains the invisible character U+{ord(character):04X}; remove it"
        )


@pytest.mark.parametrize(
    ("names", "needed"),
    [
        (("label", "en"), "'id' is missing"),
        (("id", "en"), "'label' is missing"),
        (("id", "label", "topic"), "no language column"),
        (("id", "label", "en", ""), "column 4 has no name"),
    ],
)
def test_required_columns(tmp_path: Path, names: tuple[str, ...], needed: str) -> None:
    row: dict[str, Any] = dict.fromkeys(names, "harmful")
    load_error(load_prompts, write_csv(tmp_path / "a.csv", [row]), "line 1 ", needed)
    load_error(load_prompts, write_jsonl(tmp_path / "a.jsonl", [row]), "line 1 ", needed)


def test_repeated_columns(tmp_path: Path) -> None:
    load_error(
        load_prompts,
        write(tmp_path / "a.csv", "id,label,en, en\n1,harmful,a,b\n"),
        "line 1 ",
        "'en' occurs twice",
    )
    twice = ROW + ROW.replace("}", ', "en": "b"}')
    load_error(load_prompts, write(tmp_path / "a.jsonl", twice), "line 2 ", "'en' occurs twice")


@pytest.mark.parametrize(
    ("change", "needed"),
    [({"da": "en ting"}, "'da' is additional"), ({"ko": "b", "en": None}, "'en' is missing")],
)
def test_jsonl_rows_with_different_languages(tmp_path: Path, change: dict[str, str | None], needed: str) -> None:
    row = {"id": "2", "label": "harmful", "en": "b"} | change
    row = {name: cell for name, cell in row.items() if cell is not None}
    path = write(tmp_path / "a.jsonl", ROW + json.dumps(row))
    load_error(load_prompts, path, "line 2 ", needed, "compared with line 1")


# Cells.


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("field", ["id", "label", "en", "da"])
@pytest.mark.parametrize("cell", ["", " \t", "\u00a0\u3000", "\u200b\ufeff"])
def test_empty_cells(tmp_path: Path, ending: str, field: str, cell: str) -> None:
    rows = [TWINS[0], TWINS[1] | {field: cell}]
    path = (write_csv if ending == "csv" else write_jsonl)(tmp_path / f"a.{ending}", rows)
    line = "line 3 " if ending == "csv" else "line 2 "
    sentence = load_error(load_prompts, path, line, f"'{field}'", "is empty")
    assert ("the row 's1'" in sentence) == (field != "id")


@pytest.mark.parametrize("label", ["Harmful", "harmfull", "0"])
def test_labels(tmp_path: Path, label: str) -> None:
    path = write_csv(tmp_path / "a.csv", [TWINS[0], TWINS[1] | {"label": label}])
    load_error(load_prompts, path, "line 3 ", "'label'", "'s1'", f"'{label}'", "harmful or harmless")


def test_unknown_split(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [TWINS[0], TWINS[1] | {"split": "dev"}])
    load_error(load_corpus, path, "line 3 ", "'split'", "'s1'", "'dev'", "train or validation or test or hard")


def test_an_unknown_expected_reply(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [TWINS[0] | {"expected": ""}, TWINS[1] | {"expected": "help"}])
    load_error(load_corpus, path, "line 3 ", "'expected'", "'s1'", "'help'", "refuse or support or answer")
