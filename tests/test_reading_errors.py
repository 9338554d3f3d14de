"""Files that cannot be read: one sentence, no traceback, and nothing is read by half."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from reading_files import LOCK, read, rows_of, save

from babelguard.errors import UserError

ROW = f"prompt,label\n{LOCK},harmful\n"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "", "is empty"),
        ("a.json", " \n", "is empty"),
        ("a.txt", b"\xef\xbb\xbf\n", "is empty"),
        ("a.csv", "prompt,label\n", "contains no rows"),
        ("a.json", "[]", "contains no rows"),
        ("a.csv", bytes(range(256)), "byte 128 of the file is not UTF-8; save it as UTF-8"),
        ("a.txt", b"PK\x03\x04\x00", "is an Excel file or a ZIP archive; save it as CSV"),
        ("a.csv", "prompt,label\nl\xe5s,harmful\n".encode("latin-1"), "In line 2 of .*is not UTF-8"),
        ("a.csv", b"\xff\xfea\x00b", "is not UTF-16"),
        ("a.csv", "prompt,label\na\0b,harmful\n", "In line 2 of .*a NUL character"),
        ("a.jsonl", '{"prompt": "a\\u0000b", "label": "harmful"}', "In line 1 of .*contains a NUL"),
        ("a.jsonl", '{"prompt": "a\\ud800", "label": "harmful"}', "half a surrogate pair"),
        ("a.csv", ROW + "Bake, bread,harmless\n", "In line 3 of .*the row has 3 cells"),
        ("a.csv", ROW + "Bake\n", "In line 3 of .*'label' is missing; add the cell"),
        ("a.csv", ROW + '"Bake,harmless\n', "In line 3 of .*not valid CSV"),
        ("a.csv", "prompt,label\nBake,\n", "The label column 'label' of .* is empty"),
        ("a.csv", "prompt,note,note\na,b,c\n", "the column 'note' occurs twice"),
        ("a.csv", "a,b,c\nx,long text,y\n", "has the columns a, b, c, and none is known as a prompt column.*en=b"),
        ("a.csv", "goal,question,label\na,b,harmful\n", "several can hold the prompts"),
        ("a.csv", "prompt,Prompt,label\na,b,safe\n", "several can hold the prompts"),
        ("a.json", '[{"prompt": NaN, "label": "safe"}]', "no row has both a prompt and a label"),
        ("a.csv", "en,English,label\na,b,harmful\n", "have the same language; set `columns`"),
        ("a.csv", "prompt,label\n , harmful\n", "no row has both a prompt and a label"),
        ("a.csv", "prompt,language,label\na,en,safe\nb,xx,safe\n", "In line 3 of .*the language 'xx' is not known"),
        ("a.json", "{", "is not valid JSON"),
        ("a.json", "[" * 100_000, "is not valid JSON"),
        ("a.json", "9" * 5000, "is not valid JSON"),
        ("a.json", '{"prompt": "a", "prompt": "b"}', "the key 'prompt' occurs twice"),
        ("a.json", '"a"', "holds a string; write a list"),
        ("a.json", "[1, 2]", "In item 1 of .*there is a number"),
        ("a.json", '[["a"]]', "In item 1 of .*there is a list"),
        ("a.json", '["a", {"prompt": "b"}]', "In item 2 of .*there is an object instead of a string"),
        ("a.json", '{"prompt": "a", "tags": ["b"]}', "holds one JSON object .*its rows cannot be found"),
        ("a.json", '{"goal": {"0": "a"}}', "its rows cannot be found"),
        ("a.json", '{"a": ["x"], "b": ["y", "z"]}', "its rows cannot be found"),
        ("a.json", '[{"prompt": {"text": "a"}, "label": "safe"}]', "holds lists or objects, not texts"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": ', "In line 2 of .*not valid JSON"),
        ("a.jsonl", '{"prompt": "a"}\nnull', "In line 2 of .*there is null"),
        ("a.txt", "id,label,en\n1,harmful,a\n", "begins with column names .*rename it to .csv"),
        ("a.xlsx", b"PK", "ends in none of .csv"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str | bytes, sentence: str) -> None:
    path = save(tmp_path / name, content)
    with pytest.raises(UserError) as caught:
        read(path)
    text = str(caught.value)
    assert re.search(sentence, text), text
    assert str(path) in text and "\n" not in text and text[-1] in ".?"
    assert not re.search(r"--[a-z]", text)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        read(tmp_path / "gone.csv")
    with pytest.raises(UserError, match="is a folder"):
        read(tmp_path)


def test_missing_languages(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", f"id,label,en,da\n1,harmful,{LOCK},Lås\n")
    with pytest.raises(UserError, match=r"has no prompts in the selected `languages` \(ko\); it has en, da\.$"):
        read(path, ("ko",))
    with pytest.raises(UserError, match=r"no prompts in the language 'ko'; available languages: en\.$"):
        read(path, ("en", "ko"))
    with pytest.raises(UserError, match="The language code 'kr' is not known"):
        read(path, ("kr",))
    with pytest.raises(UserError, match="No language is selected"):
        read(path, ())


def test_two_labels_for_one_prompt(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "language": code, "prompt": code, "label": label}
        for code, label in (("en", "safe"), ("da", "unsafe"))
    ]
    rows.append({"id": 2, "language": "en", "prompt": "x", "label": "safe"})
    with pytest.raises(UserError, match=r"In item 1 of .*the row '1' is harmful in one language"):
        read(save(tmp_path / "a.json", json.dumps(rows)))


def test_ids_that_are_not_unique_are_made(tmp_path: Path) -> None:
    prompts = read(save(tmp_path / "a.csv", f"id,label,en\n1,harmful,{LOCK}\n1,harmless,Bake\n"))
    assert [row[0] for row in rows_of(prompts)] == ["1", "2"]
    assert "ids from the row numbers because the column 'id' is not unique" in prompts.lines[0]


def test_rows_without_a_label_or_a_prompt_are_left_out_and_counted(tmp_path: Path) -> None:
    prompts = read(save(tmp_path / "a.csv", ROW + "Bake,\n,safe\nClean,safe\n"))
    assert rows_of(prompts) == [("1", "harmful", {"en": LOCK}), ("4", "harmless", {"en": "Clean"})]
    assert "1 row without a prompt left out; 1 row without a label left out" in prompts.lines[0]


def test_many_rows(tmp_path: Path) -> None:
    labels = ("harmful", "harmless")
    content = "prompt,label\n" + "".join(f"How do I open lock {k}?,{labels[k % 2]}\n" for k in range(100_000))
    prompts = read(save(tmp_path / "a.csv", content))
    assert len(prompts.corpus.rows) == 100_000 and "50000 harmful, 50000 harmless" in prompts.lines[0]
