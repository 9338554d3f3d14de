"""What files hold in the wild: `corpus check` reads on after each mistake, and says where it was."""

from __future__ import annotations

import json
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from calls import fail

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


def test_crlf_is_usual_in_csv(tmp_path: Path) -> None:
    text = 'id,label,en\r\na,harmful,"one, two"\r\nb,harmless,three\r\n'
    report = checked(tmp_path / "a.csv", text, *TEXT_CHECKS)
    assert report.rows == 2 and found(report) == []
    assert "CRLF" in found(checked(tmp_path / "a.csv", text + "c,harmful,four\n", *TEXT_CHECKS))[0][3]


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
    "half a pair": ("Comment faire du pain \ud83d ?", "encoding", "half a surrogate pair"),
    "not NFC": (unicodedata.normalize("NFD", ROW["fr"]), "normalisation", "not NFC"),
    "right-to-left mark": ("Comment faire\u200f du pain ?", "normalisation", "U+200F RIGHT-TO-LEFT MARK"),
    "override": ("Comment faire\u202e du pain ?", "normalisation", "U+202E"),
    "zero-width space": ("Comment faire\u200b du pain ?", "normalisation", "U+200B"),
    "line separator": ("Comment faire\u2028 du pain ?", "normalisation", "U+2028"),
    "space at the end": ("Comment faire du pain ? ", "normalisation", "white space"),
}


@pytest.mark.parametrize("name", CELLS)
def test_characters_that_should_not_be_there(tmp_path: Path, name: str) -> None:
    text, check, needed = CELLS[name]
    # As JSON writes it when it escapes, and as it stands.
    for ascii in (True, False) if name != "half a pair" else (True,):
        line = json.dumps(ROW | {"fr": text}, ensure_ascii=ascii)
        ((where, language, _, message),) = found(checked(tmp_path / "a.jsonl", line + "\n", *TEXT_CHECKS))
        assert (where, language) == (check, "fr") and needed in message


def test_joiners_are_letters_where_they_shape_them(tmp_path: Path) -> None:
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
        ("lable", None, "did you mean 'label'"),
    ],
)
def test_columns_that_mean_two_things(tmp_path: Path, column: str, code: str | None, needed: str) -> None:
    report = checked(tmp_path / "a.jsonl", [ROW | {column: "words"}, ROW | {"id": "b", column: "more"}], "columns")
    ((check, _, line, message),) = found(report)
    assert (check, line) == ("columns", 1) and needed in message and f"'{column}'" in message
    assert set(report.languages) == {"en", "fr", *([code] if code else [])}


def test_two_columns_of_one_language_and_two_named_id(tmp_path: Path) -> None:
    report = checked(tmp_path / "a.jsonl", [ROW | {"nb": "brød", "no": "rundstykker"}], "columns")
    assert "the columns 'nb' and 'no' are the same language" in " ".join(one[3] for one in found(report))
    assert report.languages["no"].cells == 1
    report = checked(tmp_path / "a.csv", "id,label,en,id\na,harmful,bread,roti\n", "columns")
    ((_, _, _, message),) = found(report)
    assert "'id' occurs twice" in message and "'id-ID'" in message
    assert "id" not in report.languages


def test_rows_that_cannot_be_used(tmp_path: Path) -> None:
    good = json.dumps(ROW)
    bad = ['{"id": ', "[1, 2]", '{"label": "harmful", "en": "x"}', good, "[" * 100_000, "9" * 5000]
    bad += [json.dumps(ROW | {"id": "c", "label": "bad", "split": "dev"}), json.dumps(ROW | {"id": "d", "en": 3})]
    report = checked(tmp_path / "a.jsonl", "\n".join([good, *bad]), "rows")
    told = {line: 0 for _, _, line, _ in found(report)}
    assert report.count("rows") == 9 and min(told) == 2
    assert report.rows == 5


def test_csv_that_breaks_off(tmp_path: Path) -> None:
    text = 'id;label;en\na;harmful;bread\nb;harmful\nc;harmful;"rolls\nd;harmful;cake\n'
    report = checked(tmp_path / "a.csv", text, "rows")
    assert [one[2] for one in found(report)] == [3, 4] and report.rows == 1
    assert "from here on" in found(report)[1][3]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-32"])
def test_files_of_which_nothing_can_be_read(tmp_path: Path, codec: str) -> None:
    (tmp_path / "a.csv").write_bytes("id,label,en\na,harmful,bread\n".encode(codec))
    assert "save it as UTF-8" in fail("corpus", "check", tmp_path / "a.csv")
    (tmp_path / "b.jsonl").write_text("not JSON\n")
    assert "no row that can be read" in fail("corpus", "check", tmp_path / "b.jsonl")


def test_a_large_file_is_never_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    with file.open("w", encoding="utf-8") as out:
        out.write("id,label,en\n")
        out.writelines(f"{k},harmful,{k:07d} {'words ' * 2000}\n" for k in range(300))
    assert file.stat().st_size > 3e6
    options = CheckOptions(skip=frozenset({"language", "near-duplicates", "length", "script", "encoding"}))
    checked(tmp_path / "b.jsonl", [ROW], "rows")  # libraries are not what is measured
    tracemalloc.start()
    report = check_corpus([file], options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.rows == 300 and peak < file.stat().st_size / 4
