"""Published files are recognised by their columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import reading_files as files
from reading_files import BREAD, CARDS, LOCK, lines, read, rows_of, save

from babelguard.corpus import load_prompts, read_prompts
from babelguard.corpus.load import BUILT_IN
from babelguard.errors import UserError


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", files.ADVBENCH, [("1", "harmful", {"en": LOCK}), ("2", "harmful", {"en": CARDS})]),
        ("b.csv", f",Goal,Target\n0,{LOCK},\n", [("1", "harmful", {"en": LOCK})]),
        ("c.tsv", files.ADVBENCH.replace(",", "\t"), [("1", "harmful", {"en": LOCK})]),
        ("d.json", json.dumps({"goal": [LOCK], "target": [""]}), [("1", "harmful", {"en": LOCK})]),
        ("e.csv", files.HARMBENCH, [("pick_lock", "harmful", {"en": LOCK})]),
        ("f.csv", files.DO_NOT_ANSWER, [("7", "harmful", {"en": LOCK})]),
        ("g.csv", files.STRONGREJECT, [("1", "harmful", {"en": LOCK})]),
        ("MaliciousInstruct.txt", files.MALICIOUS_INSTRUCT, [("1", "harmful", {"en": LOCK})]),
        ("malicious_instruct.csv", f"prompt\n{LOCK}\n", [("1", "harmful", {"en": LOCK})]),
        ("h.csv", files.XSTEST, [("1", "harmless", {"en": "How do I kill a Python process?"})]),
        ("i.csv", files.XSTEST_OLD, [("1", "harmless", {"en": "How do I kill a process?"})]),
        ("jbb-harmful.csv", f"Index,Goal,Target,Behavior\n0,{LOCK},,x\n", [("0", "harmful", {"en": LOCK})]),
        ("jbb-benign.csv", f"Index,Goal,Target,Behavior\n0,{BREAD},,x\n", [("0", "harmless", {"en": BREAD})]),
        ("j.csv", f"id,harm_area,counter,prompts_final\nx1,a,1,{LOCK}\n", [("x1", "harmful", {"en": LOCK})]),
    ],
)
def test_files_with_one_language(tmp_path: Path, name: str, content: str, expected: list[object]) -> None:
    prompts = read(save(tmp_path / name, content))
    assert rows_of(prompts)[: len(expected)] == expected
    assert prompts.languages == ("en",)


@pytest.mark.parametrize(
    ("content", "taken_for"),
    [
        (files.ADVBENCH, "AdvBench: 3 rows (3 harmful)"),
        (files.MULTIJAIL, "MultiJail: 2 rows (2 harmful)"),
        (files.XSTEST, "XSTest: 3 rows (1 harmful, 2 harmless)"),
        (files.HARMBENCH, "HarmBench"),
        (files.DO_NOT_ANSWER, "Do-Not-Answer: 1 row (1 harmful)"),
        (files.STRONGREJECT, "StrongREJECT"),
    ],
)
def test_the_screen_says_what_a_file_was_taken_for(tmp_path: Path, content: str, taken_for: str) -> None:
    (line,) = read(save(tmp_path / "a.csv", content)).lines
    assert f"a.csv was read as {taken_for}" in line and "\n" not in line


def test_multijail_has_ten_languages_and_keeps_duplicates(tmp_path: Path) -> None:
    prompts = read(save(tmp_path / "MultiJail.csv", files.MULTIJAIL))
    assert prompts.languages == ("en", "zh", "it", "vi", "ar", "ko", "th", "bn", "sw", "jv")
    assert [row.id for row in prompts.corpus.rows] == ["0", "1"]
    assert prompts.corpus.texts("ar") == ["كيف أفتح القفل؟"] * 2
    assert "duplicate texts kept: 1 ar, 1 sw" in prompts.lines[0]
    assert prompts.corpus.rows[0].extra == {"source": "us", "tags": "['theft']"}
    assert "other columns: source, tags" in prompts.lines[0]


def test_xstest_without_labels_uses_its_types(tmp_path: Path) -> None:
    new, old = (read(save(tmp_path / "a.csv", text)) for text in (files.XSTEST, files.XSTEST_OLD))
    assert [row.label for row in new.corpus.rows] == ["harmless", "harmless", "harmful"]
    assert [row.label for row in old.corpus.rows] == ["harmless", "harmful"]
    assert "labels from the column 'type'" in old.lines[0]


def test_the_context_of_harmbench_precedes_the_prompt(tmp_path: Path) -> None:
    row = read(save(tmp_path / "a.csv", files.HARMBENCH)).corpus.rows[1]
    assert row.texts["en"] == "A lock, made in 1950\n\n---\n\nOpen this lock"


@pytest.mark.parametrize(("name", "write"), [("a.jsonl", lines), ("a.json", json.dumps), ("b.json", lines)])
def test_one_row_per_language_is_grouped(tmp_path: Path, name: str, write) -> None:
    prompts = read(save(tmp_path / name, write(files.POLYGUARD)))
    assert "PolyGuardPrompts: 2 rows (1 harmful, 1 harmless)" in prompts.lines[0]
    assert prompts.languages == ("en", "de", "sv")
    assert rows_of(prompts)[1] == (
        "9",
        "harmless",
        {"en": BREAD, "de": "Wie backe ich Brot?", "sv": "Hur bakar jag bröd?"},
    )


def test_one_row_per_language_is_grouped_by_the_english_text(tmp_path: Path) -> None:
    rows = [
        {"prompt": row["prompt"], "language": row["language"], "label": "harmful", "english": row["id"]}
        for row in files.POLYGUARD
    ]
    prompts = read(save(tmp_path / "a.jsonl", lines(rows)))
    assert [set(row.texts) for row in prompts.corpus.rows] == [{"en", "de", "sv"}] * 2


def test_one_row_per_language_without_groups(tmp_path: Path) -> None:
    rows = [row | {"id": number} for number, row in enumerate(files.POLYGUARD)]
    prompts = read(save(tmp_path / "a.jsonl", lines(rows)), languages=("de", "sv"))
    assert [set(row.texts) for row in prompts.corpus.rows] == [{"de"}, {"sv"}, {"de"}, {"sv"}]
    assert "rows without a text: 2 de, 2 sv" in prompts.lines[0]


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.Table.from_pylist(files.POLYGUARD), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").languages == ("en", "de", "sv")
    with pytest.raises(UserError, match=r"b\.parquet is not a valid Parquet file .*\.$"):
        read(save(tmp_path / "b.parquet", b"PAR1 broken"))


def test_a_label_column_wins_over_the_label_of_a_published_file(tmp_path: Path) -> None:
    content = f"id,source,en,zh,label\n1,us,{LOCK},怎么撬锁？,unsafe\n2,us,{BREAD},怎么烤面包？,safe\n"
    assert [row.label for row in read(save(tmp_path / "a.csv", content)).corpus.rows] == ["harmful", "harmless"]


# babelguard's own format.


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_our_own_format_is_read_as_before(name: str) -> None:
    path = BUILT_IN / f"{name}.jsonl"
    own, now = load_prompts(path), read_prompts([path])
    assert now.is_own_format and now.name == name
    assert now.corpus == own and now.languages == own.languages
    for languages in (("ko", "en"), ("id-ID",)):
        now = read_prompts([path], languages=languages, limit=3)
        assert now.corpus == own.select(languages, 3)
        assert now.corpus.digest == own.select(languages, 3).digest


def test_other_columns_do_not_change_the_digest(tmp_path: Path) -> None:
    plain = read(save(tmp_path / "a.csv", f"prompt,label\n{LOCK},harmful\n"))
    more = read(save(tmp_path / "b.csv", f"prompt,label,source\n{LOCK},harmful,me\n"))
    assert more.corpus.rows[0].extra == {"source": "me"}
    assert plain.corpus.digest == more.corpus.digest


def test_languages_are_selected_before_anything_is_checked(tmp_path: Path) -> None:
    content = "id,label,en,ar\n1,harmful,Bake bread,a b\n2,harmful,Bake cake,a b\n3,harmless,Bake rolls,\n"
    path = save(tmp_path / "a.csv", content)
    prompts = read(path, ("en",))
    assert "duplicate" not in prompts.lines[0] and len(prompts.corpus.rows) == 3
    prompts = read(path)
    assert "duplicate texts kept: 1 ar; rows without a text: 1 ar" in prompts.lines[0]
