"""`babelguard corpus list`, `show` and `export`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from calls import fail, succeed
from rich.console import Console

from babelguard.corpus import Corpus, Row, load_corpus
from babelguard.corpus.browse import row_table
from babelguard.corpus.export import export_corpus

# Two splits. Only the test split has Norwegian.
TWO = (
    '{"id": "a", "label": "harmful", "split": "test", "en": "pick a lock", "no": "dirk opp en lås"}',
    '{"id": "b", "label": "harmless", "split": "test", "en": "oil a lock", "no": "smør en lås"}',
)
ONE = '{"id": "c", "label": "harmless", "split": "train", "en": "draw a lock"}'
MINE = "id,label,split,en,id-ID,no\na,harmful,test,pick a lock,bobol kunci,dirk opp en lås\nb,harmless,test,oil,minyaki,smør\n"


def mine(folder: Path) -> Path:
    (folder / "mine.csv").write_text(MINE, encoding="utf-8")
    return folder / "mine.csv"


def two_splits(folder: Path) -> Path:
    (folder / "two").mkdir()
    (folder / "two" / "test.jsonl").write_text("\n".join(TWO) + "\n", encoding="utf-8")
    (folder / "two" / "train.jsonl").write_text(ONE + "\n", encoding="utf-8")
    return folder / "two"


def test_list_describes_languages(tmp_path: Path) -> None:
    described = {one["code"]: one for one in json.loads(succeed("corpus", "list", "--json"))}
    assert described["ko"]["rows"] == {"train": 344, "validation": 64, "test": 200, "hard": 60}
    assert len(described) == 29
    rows = {
        one["code"]: one["rows"]
        for one in json.loads(succeed("corpus", "list", "--json", "--corpus", two_splits(tmp_path)))
    }
    assert rows["no"]["train"] == 0 and rows["en"]["train"] == 1
    assert (described["ar"]["direction"], described["ar"]["script"], described["da"]["direction"]) == (
        "rtl",
        "Arab",
        "ltr",
    )
    table = succeed("corpus", "list", "--corpus", mine(tmp_path), env={"COLUMNS": "120"})
    assert "Bahasa Indonesia" in table and "Korean" not in table
    (tmp_path / "mine.csv").write_text(MINE.replace(",test,", ",,"), encoding="utf-8")
    assert json.loads(succeed("corpus", "list", "--corpus", tmp_path / "mine.csv", "--json"))[0]["rows"]["unsplit"] == 2


def test_show_chooses_rows() -> None:
    out = succeed("corpus", "show", "ar", "--label", "harmless", "--limit", 2, env={"COLUMNS": "300"})
    assert "hard-harmless-002" in out and "hard-harmless-003" not in out and "harmful" not in out
    assert "362 more rows" in out
    given = ("--split", "test", "--label", "harmless", "--limit", 2)
    out = succeed("corpus", "show", "ar", *given, env={"COLUMNS": "300"})
    assert "test-harmless-002" in out and "test-harmless-003" not in out and "test-harmful" not in out
    assert "98 more rows" in out
    # Characters are printed in logical order.
    assert load_corpus().split("test").select(["ar"]).rows[1].texts["ar"] in out
    assert "train-harmful-001" in succeed("corpus", "show", "da", "--split", "train", "--limit", 1)
    assert succeed("corpus", "show", "id-ID", "--limit", 1) == succeed("corpus", "show", "id", "--limit", 1)


def test_show_errors(tmp_path: Path) -> None:
    given = ("--split", "train", "--corpus", two_splits(tmp_path))
    assert "No row of the split 'train' has the language 'no'" in fail("corpus", "show", "no", *given)
    assert "did you mean 'ko'" in fail("corpus", "show", "kr")
    assert "'dev' is not a split" in fail("corpus", "show", "da", "--split", "dev")
    assert "'bad' is not a label" in fail("corpus", "show", "da", "--label", "bad")


def test_show_escapes_control_sequences() -> None:
    row = Row("a\x1b[2J", "harmful", {"en": "x\x1b]0;title\x07", "ar": "سؤال \u202e!"}, split="test")
    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(row_table(Corpus.of([row], "mine"), "ar")[0])
    out = console.export_text()
    assert "\x1b" not in out and "\\u001b[2J" in out and "\\u202e" in out and "[2J" in out


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_exported_files_are_loaded_unchanged(tmp_path: Path, kind: str) -> None:
    succeed("corpus", "export", "--format", kind, "--output", tmp_path / "all")
    for split in ("train", "validation", "test", "hard"):
        assert load_corpus(tmp_path / "all" / f"{split}.{kind}").digest == load_corpus().split(split).digest
    for name in ("id", "id-ID"):
        given = ["--corpus", mine(tmp_path), "--languages", f"{name},en"]
        assert "left out" not in succeed("corpus", "export", "--format", kind, "--output", tmp_path / name, *given)
        part = load_corpus(tmp_path / name)
        assert part.languages == ("id", "en") and part.rows[0].texts["id"] == "bobol kunci"


def test_hf_folder_has_one_configuration_per_language(tmp_path: Path) -> None:
    files = export_corpus(load_corpus(mine(tmp_path)), tmp_path / "hf", "hf")
    names = {str(file.relative_to(tmp_path / "hf")) for file in files}
    assert names == {"README.md", *(f"data/{name}/test.jsonl" for name in ("all", "en", "id", "no"))}
    first = json.loads((tmp_path / "hf/data/id/test.jsonl").read_text().splitlines()[0])
    assert first == {"id": "a", "label": "harmful", "split": "test", "language": "id", "text": "bobol kunci"}
    assert json.loads((tmp_path / "hf/data/all/test.jsonl").read_text().splitlines()[1])["id-ID"] == "minyaki"
    card = (tmp_path / "hf/README.md").read_text()
    assert "license: other" in card and "How it was made" not in card and "| test | 1 | 1 |" in card


def test_datasets_opens_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    succeed("corpus", "export", "--format", "hf", "--output", tmp_path / "hf")
    cache = str(tmp_path / "cache")
    korean = datasets.load_dataset(str(tmp_path / "hf"), "ko", cache_dir=cache)
    counts = {split: rows.num_rows for split, rows in korean.items()}
    assert counts == {"train": 344, "validation": 64, "test": 200, "hard": 60}
    assert korean["test"]["text"][:] == load_corpus().split("test").texts("ko")
    assert "cc-by-4.0" in (tmp_path / "hf/README.md").read_text()
    # A language that only one split has.
    succeed("corpus", "export", "--format", "hf", "--output", tmp_path / "two-hf", "--corpus", two_splits(tmp_path))
    everything = datasets.load_dataset(str(tmp_path / "two-hf"), cache_dir=cache)
    assert everything["train"][0]["no"] is None and everything["test"][0]["no"].startswith("dirk")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "hf"])
def test_export_reports_languages_left_out(tmp_path: Path, kind: str) -> None:
    folder = two_splits(tmp_path)
    # Only some rows of the test split have Danish and Korean.
    more = '{"id": "d", "label": "harmful", "split": "test", "ko": "자물쇠를 따다", "en": "cut a chain", "da": "klip en kæde"}'
    (folder / "more.jsonl").write_text(more + "\n", encoding="utf-8")
    given = ("corpus", "export", "--corpus", folder, "--format", kind, "--output")
    out = succeed(*given, tmp_path / "all")
    assert (
        "Languages left out of test, because not all of its rows have them: da, ko, no.\n" in out
        and "train, because" not in out
    )
    (folder / "more.jsonl").unlink()
    assert "left out" not in succeed(*given, tmp_path / "both")
    out = succeed(*given, tmp_path / "norwegian", "--languages", "no")
    assert "Languages left out of train, because not all of its rows have them: no.\n" in out
    assert not list((tmp_path / "norwegian").rglob("train*"))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "hf"])
def test_export_of_files_without_a_common_language(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    for code in ("en", "da"):
        row = {"id": code, "label": "harmful", code: f"{code} lock"}
        (tmp_path / "in" / f"{code}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    given = ("corpus", "export", "--corpus", tmp_path / "in", "--format", kind, "--output", tmp_path / "out")
    assert "The rows without a split of in have no language in common;" in fail(*given)
    assert "available languages: none" in fail(*given, "--languages", "en")
    assert not (tmp_path / "out").exists()


def test_export_errors(tmp_path: Path) -> None:
    def refused(*options: object) -> str:
        return fail("corpus", "export", "--output", tmp_path / "out", *options)

    assert "no format 'xml'" in refused("--format", "xml")
    assert "'sv'" in refused("--format", "csv", "--languages", "sv")
    for nothing in ("", ",", " , "):
        for kind in ("csv", "jsonl", "hf"):
            sentence = refused("--format", kind, "--languages", nothing)
            assert "No language is selected; babelguard-corpus has am, ar" in sentence
    assert "'dev' is not a split" in refused("--format", "csv", "--split", "dev")
    given = ("--corpus", two_splits(tmp_path), "--split", "train", "--languages", "no")
    assert "'no'" in refused("--format", "csv", *given)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    assert "not an empty folder" in refused("--format", "csv")
    (tmp_path / "out" / "mine.txt").rename(tmp_path / "file")
    assert "could not be written" in fail("corpus", "export", "--format", "csv", "--output", tmp_path / "file" / "x")
