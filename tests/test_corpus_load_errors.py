"""Errors of the loader: one sentence with file, line and field for every mistake."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpus_files import ROW, TWINS, folder_of_two, load_error, write, write_csv

from babelguard.corpus import Corpus, load_corpus, load_prompts
from babelguard.errors import UserError

# Files that cannot be read.


@pytest.mark.parametrize("name", ["gone.csv", "gone.jsonl", "gone"])
@pytest.mark.parametrize("call", [load_corpus, load_prompts])
def test_missing_file(tmp_path: Path, name: str, call: Callable[[Path], Corpus]) -> None:
    load_error(call, tmp_path / name, "no file")


def test_folders_and_other_endings(tmp_path: Path) -> None:
    load_error(load_prompts, tmp_path, "is a folder")
    load_error(load_corpus, tmp_path, "contains no .csv or .jsonl")
    load_error(load_prompts, write(tmp_path / "a.txt", "id,label,en\n1,harmful,a\n"), ".csv nor .jsonl")


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_empty_file(tmp_path: Path, content: bytes, ending: str) -> None:
    load_error(load_prompts, write(tmp_path / f"a.{ending}", content), "is empty")


def test_header_without_rows(tmp_path: Path) -> None:
    load_error(load_prompts, write(tmp_path / "a.csv", "id,label,en\n"), "contains no rows")


def test_not_utf8(tmp_path: Path) -> None:
    latin = b"id,label,da\r\nh1,harmful,l\xe5s\r\n"
    load_error(load_prompts, write(tmp_path / "a.csv", latin), "line 2 ", "byte 25 ", "save it as UTF-8")
    load_error(load_prompts, write(tmp_path / "b.csv", b"\xef\xbb\xbf" + latin), "line 2 ", "byte 28 ")
    load_error(load_prompts, write(tmp_path / "c.csv", "id,label,en".encode("utf-16")), "line 1 ", "byte 0 ")


def test_nul(tmp_path: Path) -> None:
    load_error(load_prompts, write(tmp_path / "a.csv", "id,label,en\n1,harmful,a\0b\n"), "line 2 ", "NUL")
    load_error(
        load_prompts,
        write(tmp_path / "b.jsonl", "id,label,en".encode("utf-16-le")),
        "line 1 ",
        "NUL",
        "UTF-8",
    )
    for escape in ("\\u0000", "\\ud800"):
        content = f'{{"id": "1", "label": "harmful", "en": "a{escape}"}}\n'
        load_error(
            load_prompts,
            write(tmp_path / "c.jsonl", content),
            "line 1 ",
            "'en'",
            "NUL character or an unpaired surrogate",
        )


# Lines that are not rows.


@pytest.mark.parametrize("line", ['{"id": ', "id,label,en", "{'id': '2'}", ROW.strip() * 2, "[" * 100_000, "9" * 5000])
def test_invalid_json(tmp_path: Path, line: str) -> None:
    load_error(load_prompts, write(tmp_path / "a.jsonl", ROW + line), "line 2 ", "not valid JSON")


@pytest.mark.parametrize("line", ['["2", "harmful", "b"]', '"2"', "2", "null"])
def test_json_that_is_not_an_object(tmp_path: Path, line: str) -> None:
    load_error(load_prompts, write(tmp_path / "a.jsonl", ROW + line), "line 2 ", "not a JSON object")


@pytest.mark.parametrize(
    ("field", "cell", "kind"),
    [
        ("en", 3, "a number"),
        ("id", 7.5, "a number"),
        ("label", None, "null"),
        ("en", None, "null"),
        ("en", ["a"], "a list"),
        ("en", {"a": "b"}, "an object"),
        ("note", True, "true or false"),
    ],
)
def test_cells_that_are_not_strings(tmp_path: Path, field: str, cell: object, kind: str) -> None:
    row: dict[str, Any] = {"id": "2", "label": "harmful", "en": "b"} | {field: cell}
    load_error(load_prompts, write(tmp_path / "a.jsonl", ROW + json.dumps(row)), "line 2 ", f"'{field}' is {kind}")


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("2,harmful", ("2 cells", "3 columns", "'en' is missing")),
        ("2", ("1 cells", "'label' is missing")),
        ("2,harmful,b, c", ("4 cells", "3 columns", "','")),
    ],
)
def test_csv_rows_with_a_different_number_of_cells(tmp_path: Path, line: str, needed: tuple[str, ...]) -> None:
    load_error(load_prompts, write(tmp_path / "a.csv", f"id,label,en\n1,harmful,a\n{line}\n"), "line 3 ", *needed)


@pytest.mark.parametrize("cell", ['"never closed\nmore\n', '"closed" early'])
def test_broken_csv(tmp_path: Path, cell: str) -> None:
    content = f"id,label,en\n1,harmful,a\n2,harmful,{cell}\n"
    load_error(load_prompts, write(tmp_path / "a.csv", content), "line 3 ", "not valid CSV", "quotation marks")


def test_long_csv_cells(tmp_path: Path) -> None:
    text = "x" * 200_000
    assert load_prompts(write(tmp_path / "a.csv", f"id,label,en\n1,harmful,{text}\n")).texts("en") == [text]
    # There must be a limit, or a missing closing quote reads a large file into memory.
    path = write(tmp_path / "b.csv", f"id,label,en\n1,harmful,{text * 51}\n")
    load_error(load_prompts, path, "line 2 ", "not valid CSV", "quotation marks")


# Rows compared with each other.


def test_duplicate_id(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [*TWINS, TWINS[1] | {"en": "x", "da": "y"}])
    load_error(load_prompts, path, "In line 6 ", "id 's1'", "line 3 of")


def test_duplicate_id_in_another_file(tmp_path: Path) -> None:
    folder = folder_of_two(tmp_path)
    write_csv(folder / "c.csv", [{"id": "h2", "label": "harmful", "en": "x"}])
    with pytest.raises(UserError) as caught:
        load_corpus(folder)
    for part in (f"In line 2 of {folder / 'c.csv'}", "'h2'", f"line 2 of {folder / 'a-test.csv'}"):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["SMØR  en\tlås", unicodedata.normalize("NFD", "smør en lås "), "smør\nen lås"])
@pytest.mark.parametrize("call", [load_corpus, load_prompts])
def test_duplicate_text(tmp_path: Path, text: str, call: Callable[[Path], Corpus]) -> None:
    path = write_csv(tmp_path / "a.csv", [*TWINS, TWINS[2] | {"id": "h3", "en": "x", "da": text}])
    load_error(call, path, "In line 6 ", "'da'", "'h3'", "'s1' (line 3 of")


def test_the_same_text_in_two_languages_is_not_a_duplicate(tmp_path: Path) -> None:
    rows = [TWINS[0] | {"en": "taxi", "da": "taxi"}, TWINS[1]]
    assert len(load_corpus(write_csv(tmp_path / "a.csv", rows)).rows) == 2


@pytest.mark.parametrize(
    ("twins", "needed"),
    [
        (("s9", "h1", "", ""), ("line 2 ", "'s9'", "'h1'", "does not exist")),
        (("s1", "", "", ""), ("line 2 ", "'h1'", "'s1' (line 3 of", "but the twin of that row is none")),
        (("s1", "h1", "s1", ""), ("line 4 ", "'h2'", "'s1' (line 3 of", "but the twin of that row is 'h1'")),
        (("h1", "", "", ""), ("line 2 ", "'h1'", "two different rows")),
    ],
)
def test_twins_are_mutual_in_a_corpus_only(tmp_path: Path, twins: tuple[str, ...], needed: tuple[str, ...]) -> None:
    path = write_csv(tmp_path / "a.csv", [row | {"twin": twin} for row, twin in zip(TWINS, twins, strict=True)])
    load_error(load_corpus, path, *needed)
    assert len(load_prompts(path).rows) == 4
