"""Corpora to train on: the checks for authors, other formats, and splits that are made."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from calls import fail, succeed, write_corpus
from corpus_files import TWINS, folder_of_two, write_csv
from reading_files import LOCK, save

from babelguard.config import load_settings
from babelguard.corpus import PromptOptions, load_corpus, read_corpus
from babelguard.errors import UserError
from babelguard.jobs.run_folder import OUTSIDE_IDENTITY

PAIRS = 20


def rows(count: int = PAIRS, **more: str) -> list[dict[str, str]]:
    """Return harmful and harmless rows in two languages."""
    found = []
    for number in range(count):
        for label, what in (("unsafe", "break"), ("safe", "clean")):
            found.append(
                {"prompt": f"How do I {what} lock {number}?", "da": f"Lås {number} {what}", "kind": label} | more
            )
    return found


def test_a_file_without_splits_is_split_by_label(tmp_path: Path) -> None:
    path = save(tmp_path / "mine.json", json.dumps(rows()))
    found = read_corpus(path, PromptOptions.of(label_column="kind"), seed=3)
    counts = Counter((row.split, row.label) for row in found.corpus.rows)
    assert counts == {
        (split, label): count
        for split, count in (("train", 12), ("validation", 4), ("test", 4))
        for label in ("harmful", "harmless")
    }
    assert found.corpus.languages == ("en", "da")
    assert "mine.json was read as a file of prompts" in found.lines[0]
    expected = (
        "mine.json has no splits: its rows were split row by row with the seed 3 (24 train, 8 validation, 8 test)."
    )
    assert found.lines[1] == expected
    same = read_corpus(path, PromptOptions.of(label_column="kind"), seed=3)
    other = read_corpus(path, PromptOptions.of(label_column="kind"), seed=4)
    assert same == found and other.corpus != found.corpus


def test_twins_and_topics_stay_together(tmp_path: Path) -> None:
    pairs = []
    for number in range(PAIRS):
        ids = [f"h{number}", f"s{number}"]
        for own, other, label in ((*ids, "harmful"), (*reversed(ids), "harmless")):
            text = f"{label} {number}"
            pairs.append({"id": own, "label": label, "en": text, "twin": other, "topic": f"topic {number // 4}"})
    found = read_corpus(write_csv(tmp_path / "a.csv", pairs))
    splits = {row.id: row.split for row in found.corpus.rows}
    assert all(splits[f"h{number}"] == splits[f"s{number}"] for number in range(PAIRS))
    assert Counter(splits.values()) == {"train": 24, "validation": 8, "test": 8}
    assert "split by twins with the seed 0" in found.lines[0] and len(found.lines) == 1
    many = [row | {"topic": f"topic {k // 2 // 2}"} for k, row in enumerate(pairs)]
    found = read_corpus(write_csv(tmp_path / "b.csv", many))
    topics = {row.topic: set[str | None]() for row in found.corpus.rows}
    for row in found.corpus.rows:
        topics[row.topic].add(row.split)
    assert all(len(found) == 1 for found in topics.values()) and "split by topic" in found.lines[0]


def test_few_rows(tmp_path: Path) -> None:
    options = PromptOptions.of(label_column="kind")
    found = read_corpus(save(tmp_path / "a.json", json.dumps(rows(3))), options)
    assert Counter(row.split for row in found.corpus.rows) == {"train": 2, "validation": 2, "test": 2}
    with pytest.raises(UserError, match=r"b\.json has too few harmful rows to split it; add rows, or a column 'split'"):
        read_corpus(save(tmp_path / "b.json", json.dumps(rows(2))), options)
    one = [row for row in rows() if row["kind"] == "safe"]
    with pytest.raises(UserError, match=r"c\.json has no harmful rows, but training needs both labels"):
        read_corpus(save(tmp_path / "c.json", json.dumps(one)), options)


def test_files_with_splits_are_not_split(tmp_path: Path) -> None:
    for path in (None, folder_of_two(tmp_path), write_csv(tmp_path / "a.csv", TWINS)):
        found = read_corpus(path, seed=7)
        assert found.corpus == load_corpus(path) and found.lines == ()
    named = [
        row | {"split": split, "prompt": f"{split} {row['prompt']}"}
        for row in rows(1)
        for split in ("train", "dev", "test")
    ]
    options = PromptOptions.of({"en": "prompt"}, label_column="kind")
    found = read_corpus(save(tmp_path / "a.json", json.dumps(named)), options)
    assert [row.split for row in found.corpus.rows] == ["train", "validation", "test"] * 2


def test_the_checks_for_authors_remain(tmp_path: Path) -> None:
    own = "id,label,en\n1,harmful,Bake\n2,harmless,Bake\n"
    with pytest.raises(UserError, match="is the same as that of"):
        read_corpus(save(tmp_path / "a.csv", own))
    with pytest.raises(UserError, match="the column 'lable' of"):
        read_corpus(save(tmp_path / "b.csv", "id,label,en,lable\n1,harmful,Bake,x\n"))
    with pytest.raises(UserError, match=r"In line 3 of .*the text 'en' of the row '2' is the same as that of '1'"):
        read_corpus(save(tmp_path / "c.csv", "prompt,label\nBake,safe\nbake,unsafe\n"))
    with pytest.raises(UserError, match=r"In line 3 of .*the row '2' has no text in the language 'da'"):
        read_corpus(save(tmp_path / "d.csv", f"prompt_en,da,label\n{LOCK},Lås,unsafe\nBake,,safe\n"))
    with pytest.raises(UserError, match=r"has rows without a label \(1\); label or remove them before training"):
        read_corpus(save(tmp_path / "e.csv", f"prompt,label\n{LOCK},unsafe\nBake,\n"))
    with pytest.raises(UserError, match="need a `corpus` that is a single file"):
        read_corpus(None, PromptOptions.of({"en": "goal"}))


def test_settings_of_a_corpus() -> None:
    options = {"columns": {"en": "goal"}, "label_column": "kind", "harmful": ["bad*"]}
    data = load_settings({"model": "demo"} | options).data
    assert (data.columns, data.label_column, data.harmful) == (("en=goal",), "kind", ("bad*",))
    # The digest of the corpus covers them, and the files of a run stay as they were.
    assert {"data.columns", "data.label_column", "data.harmful"} <= OUTSIDE_IDENTITY


@pytest.mark.usefixtures("judge_of_bytes")
def test_defend_trains_on_a_file_without_splits(folders, files, tmp_path):
    own = write_corpus(tmp_path / "own.csv", ("en", "da")).read_text().splitlines()
    cells = [line.split(",", 3) for line in own[1:]]
    text = "ask,da,kind\n" + "".join(
        f"{texts},{'bad' if label == 'harmful' else 'good'}\n" for _, label, _, texts in cells
    )
    path = save(tmp_path / "mine.csv", text)
    given = ["--languages", "en,da", "--steps", 1, "--config", files / "quick.toml", "--corpus", path]
    given += ["--column", "en=ask", "--column", "da=da", "--output", tmp_path / "run", "--preset", "mcd-mixture"]
    labels = ["--label-column", "kind", "--harmful", "bad"]
    said = succeed("defend", folders("llama"), *given, *labels)
    assert "mine.csv was read as a file of prompts: 20 rows (10 harmful, 10 harmless)" in said
    assert (
        "mine.csv has no splits: its rows were split row by row with the seed 0 (12 train, 4 validation, 4 test)"
        in said
    )
    assert "columns" not in json.loads((tmp_path / "run" / "config.json").read_text())["data"]
    assert "This run is complete" in succeed("defend", folders("llama"), *given, *labels)
    sentence = fail("defend", folders("llama"), *given)
    assert "nothing says which prompts are harmful; set --label-column to the column" in sentence
