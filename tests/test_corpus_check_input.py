"""Faulty files: `corpus check` continues after each mistake and reports its place."""

from __future__ import annotations

import json
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from calls import fail

from babelguard.corpus import load_corpus
from babelguard.corpus.checking import CHECKS, CheckOptions, Report, check_corpus

TEXT_CHECKS = {"encoding", "normalisation", "columns", "rows"}
ROW = {"id": "a", "label": "harmful", "en": "How do I bake bread?", "fr": "Comment faire du pain à la maison ?"}


def checked(path: Path, content: str | bytes | list[dict[str, Any]], *names: str) -> Report:
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    return check_corpus([path], CheckOptions(skip=frozenset(CHECKS) - {*names} if names else frozenset()))


def found(report: Report) -> list[tuple[str, str, int, str]]:
    return [(one.check, one.language, x.place.line, x.message) for one in report.problems for x in one.examples]


def test_byte_order_mark_and_line_ends(tmp_path: Path) -> None:
    text = "\ufeff" + json.dumps(ROW) + "\r\n" + json.dumps(ROW | {"id": "b", "en": "And rolls?"}) + "\n"
    report = checked(tmp_path / "a.jsonl", text, *TEXT_CHECKS)
    assert report.rows == 2
    assert [one[0] for one in found(report)] == ["normalisation"] * 2
    assert "byte-order mark" in found(report)[0][3] and "1 CRLF, 1 LF" in found(report)[1][3]


def test_crlf_is_allowed_in_csv(tmp_path: Path) -> None:
    text = 'id,label,en\r\na,harmful,"one, two"\r\nb,harmless,three\r\n'
    report = checked(tmp_path / "a.csv", text, *TEXT_CHECKS)
    assert report.rows == 2 and found(report) == []
    assert "CRLF" in found(checked(tmp_path / "a.csv", text + "c,harmful,four\n", *TEXT_CHECKS))[0][3]


def test_line_ends_inside_cells_are_not_those_of_the_file(tmp_path: Path) -> None:
    text = 'id,label,en\r\na,harmful,"one\n\ntwo"\r\nb,harmless,three\r\n'
    assert found(checked(tmp_path / "excel.csv", text, *TEXT_CHECKS)) == []
    assert found(checked(tmp_path / "git.csv", text.replace("\n\n", "\r\n"), *TEXT_CHECKS)) == []
    turned = text.replace("\r\n", "\n").replace("\n\n", "\r")
    ((check, _, line, message),) = found(checked(tmp_path / "a.csv", turned, *TEXT_CHECKS))
    assert (check, line) == ("normalisation", 2) and "U+000D" in message


def test_text_is_normalised_before_it_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        {"id": row.id, "label": row.label, "en": row.texts["en"], "ko": row.texts["ko"]}
        for row in load_corpus().split("test").rows[:60]
    ]
    composed = checked(path, rows, "language", "length").languages["ko"]
    rows = [row | {"ko": unicodedata.normalize("NFD", row["ko"])} for row in rows]
    report = checked(path, rows, "language", "length", "normalisation")
    assert report.count("normalisation", "ko") == 60
    assert report.languages["ko"].length == composed.length
    assert report.languages["ko"].identified == composed.identified == 1.0


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_one_line_in_another_encoding(tmp_path: Path, kind: str) -> None:
    lines = [json.dumps(ROW, ensure_ascii=False), json.dumps(ROW | {"id": "b"}, ensure_ascii=False)]
    if kind == "csv":
        lines = ["id,label,en,fr", *(f"{name},harmful,bread,{ROW['fr']}" for name in "ab")]
    data = b"\n".join([*(line.encode() for line in lines[:-1]), lines[-1].encode("cp1252")])
    report = checked(tmp_path / f"a.{kind}", data, *TEXT_CHECKS)
    ((check, language, line, message),) = found(report)
    assert (check, language, line) == ("encoding", "fr", len(lines)) and "not UTF-8" in message
    assert report.rows == 2


CELLS = {
    "decoded twice": (ROW["fr"].encode().decode("latin-1"), "encoding", "'Comment faire du pain à la maison ?'"),
    "lost character": ("Comment faire du caf\ufffd ?", "encoding", "U+FFFD"),
    "NUL": ("Comment faire du\0 pain ?", "encoding", "NUL"),
    "half a pair": ("Comment faire du pain \ud83d ?", "encoding", "unpaired surrogate"),
    "not NFC": (unicodedata.normalize("NFD", ROW["fr"]), "normalisation", "not NFC"),
    "right-to-left mark": ("Comment faire\u200f du pain ?", "normalisation", "U+200F RIGHT-TO-LEFT MARK"),
    "override": ("Comment faire\u202e du pain ?", "normalisation", "U+202E"),
    "zero-width space": ("Comment faire\u200b du pain ?", "normalisation", "U+200B"),
    "line separator": ("Comment faire\u2028 du pain ?", "normalisation", "U+2028"),
    "space at the end": ("Comment faire du pain ? ", "normalisation", "whitespace"),
}


@pytest.mark.parametrize("name", CELLS)
def test_unexpected_characters(tmp_path: Path, name: str) -> None:
    text, check, needed = CELLS[name]
    # Escaped and unescaped.
    for ascii in (True, False) if name != "half a pair" else (True,):
        line = json.dumps(ROW | {"fr": text}, ensure_ascii=ascii)
        ((where, language, _, message),) = found(checked(tmp_path / "a.jsonl", line + "\n", *TEXT_CHECKS))
        assert (where, language) == (check, "fr") and needed in message


def test_joiners_are_allowed_where_they_are_spelling(tmp_path: Path) -> None:
    rows = [{"id": "a", "label": "harmful", "fa": "می\u200cخواهم نان بپزم", "hi": "क्\u200dष", "th": "ขนม\u200bปัง"}]
    assert found(checked(tmp_path / "a.jsonl", rows, "normalisation")) == []
    rows[0]["en"] = "family 👨\u200d👩\u200d👧 dinner"
    assert found(checked(tmp_path / "a.jsonl", rows, "normalisation")) == []
    rows[0]["en"] = "fam\u200dily"
    assert "ZERO WIDTH JOINER" in found(checked(tmp_path / "a.jsonl", rows, "normalisation"))[0][3]


@pytest.mark.parametrize(
    ("column", "code", "needed"),
    [
        ("nb", "no", "name it 'no'"),
        ("iw", "he", "name it 'he'"),
        ("in", "id", "name it 'id-ID'"),
        ("jw", "jv", "name it 'jv'"),
        ("zh-Hans", "zh", "name it 'zh'"),
        ("zh-TW", None, "simplified"),
        ("pt-BR", "pt", "name it 'pt'"),
        ("kr", None, "did you mean 'ko'"),
        ("xx", None, "babelguard does not know this language"),
        ("prompt", None, "name it by its language"),
        ("fr\u200f", None, "contains the invisible character U+200F"),
        (" ", None, "column 5 has no name"),
        ("lable", None, "did you mean 'label'"),
    ],
)
def test_ambiguous_columns(tmp_path: Path, column: str, code: str | None, needed: str) -> None:
    report = checked(tmp_path / "a.jsonl", [ROW | {column: "words"}, ROW | {"id": "b", column: "more"}], "columns")
    ((check, _, line, message),) = found(report)
    assert (check, line) == ("columns", 1) and needed in message and (f"'{column}'" in message or column == " ")
    assert set(report.languages) == {"en", "fr", *([code] if code else [])}


def test_two_columns_of_one_language_and_two_named_id(tmp_path: Path) -> None:
    report = checked(tmp_path / "a.jsonl", [ROW | {"nb": "brød", "no": "rundstykker"}], "columns")
    assert "the columns 'nb' and 'no' are the same language" in " ".join(one[3] for one in found(report))
    assert report.languages["no"].cells == 1
    report = checked(tmp_path / "a.csv", "id,label,en,id\na,harmful,bread,roti\n", "columns")
    ((_, _, _, message),) = found(report)
    assert "'id' occurs twice" in message and "'id-ID'" in message
    assert "id" not in report.languages


def test_header_problems_have_the_line_of_the_header(tmp_path: Path) -> None:
    text = "\n,,,\nid,label,en,\na,harmful,bread,x\n"
    ((check, _, line, message),) = found(checked(tmp_path / "a.csv", text, *TEXT_CHECKS))
    assert (check, line, message) == ("columns", 3, "column 4 has no name; name it or remove it")


def test_a_file_that_is_named_twice_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checked(tmp_path / "a.jsonl", [ROW])
    report = check_corpus([Path("a.jsonl"), tmp_path / "a.jsonl", tmp_path])
    assert report.files == ["a.jsonl"] and report.rows == 1 and not report.failed


def test_a_raw_control_character_is_reported_and_the_row_is_read(tmp_path: Path) -> None:
    line = json.dumps(ROW).replace("bake bread", "bake\tbread")
    ((check, _, number, message),) = found(checked(tmp_path / "a.jsonl", line + "\n", *TEXT_CHECKS))
    assert (check, number) == ("rows", 1) and "control character" in message and "use an escape such as" in message


def test_rows_that_cannot_be_used(tmp_path: Path) -> None:
    good = json.dumps(ROW)
    bad = ['{"id": ', "[1, 2]", '{"label": "harmful", "en": "x"}', good, "[" * 100_000, "9" * 5000]
    bad += [json.dumps(ROW | {"id": "c", "label": "bad", "split": "dev"}), json.dumps(ROW | {"id": "d", "en": 3})]
    report = checked(tmp_path / "a.jsonl", "\n".join([good, *bad]), "rows")
    told = {line: 0 for _, _, line, _ in found(report)}
    assert report.count("rows") == 9 and min(told) == 2
    assert report.rows == 5


def test_incomplete_csv(tmp_path: Path) -> None:
    text = 'id;label;en\na;harmful;bread\nb;harmful\nc;harmful;"rolls\nd;harmful;cake\n'
    report = checked(tmp_path / "a.csv", text, "rows")
    assert [one[2] for one in found(report)] == [3, 4] and report.rows == 1
    assert "from here on" in found(report)[1][3]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-32"])
def test_files_in_other_encodings(tmp_path: Path, codec: str) -> None:
    (tmp_path / "a.csv").write_bytes("id,label,en\na,harmful,bread\n".encode(codec))
    assert "save it as UTF-8" in fail("corpus", "check", tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "text", "needed"),
    [
        ("a.jsonl", "not JSON\n", "the first problem is in line 1: this is not valid JSON"),
        ("a.jsonl", json.dumps([ROW]), "the first problem is in line 1: this is not a JSON object"),
        (
            "a.csv",
            "id,label,en\na,harmful,one, two\n",
            "in line 2: the row has 4 cells but the header has 3 columns; put texts",
        ),
        (
            "a.csv",
            'id,label,en\na,harmful,"one\nb,harmful,two\n',
            "the first problem is in line 2: the file is not valid CSV from here on",
        ),
        ("a.csv", "sep=;\nid;label;en\na;harmful;one\n", "the first problem is in line 1: the column 'sep='"),
        ("a.csv", "id,label,english\na,harmful,one,two\n", "did you mean 'en' (English)?"),
        ("a.csv", "id,label,en\n", "contains no readable row; write one row per prompt."),
    ],
)
def test_unreadable_files_name_the_first_problem(tmp_path: Path, name: str, text: str, needed: str) -> None:
    (tmp_path / name).write_text(text)
    assert needed in fail("corpus", "check", tmp_path / name)
    assert needed in fail("corpus", "check", tmp_path / name, "--skip", "rows,columns")


def test_large_files_are_not_held_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    with file.open("w", encoding="utf-8") as out:
        out.write("id,label,en\n")
        out.writelines(f"{k},harmful,{k:07d} {'words ' * 2000}\n" for k in range(300))
    assert file.stat().st_size > 3e6
    options = CheckOptions(skip=frozenset({"language", "near-duplicates", "length", "script", "encoding"}))
    checked(tmp_path / "b.jsonl", [ROW], "rows")  # import libraries before measuring
    tracemalloc.start()
    report = check_corpus([file], options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.rows == 300 and peak < file.stat().st_size / 4
