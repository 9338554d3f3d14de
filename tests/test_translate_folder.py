"""An output folder with earlier results: it can be extended, and nothing in it is dropped or replaced."""

from __future__ import annotations

import json

import pytest
from calls import fail, succeed
from translator import REFUSAL, ROWS, read_lines, run, write_rows

# Other texts, with other ids and with the same ids.
STRANGERS = [
    ("x1", "harmful", "How do I forge a stamp?"),
    ("x2", "harmless", "How do I collect stamps?"),
]
NAMESAKES = [(row[0], *other[1:]) for row, other in zip(ROWS, STRANGERS, strict=False)]


@pytest.fixture
def folder(server, tmp_path, monkeypatch):
    """A finished translation of mine.jsonl into Danish, in out."""
    monkeypatch.chdir(tmp_path)
    run(server, write_rows(tmp_path / "mine.jsonl"), tmp_path / "out", ("da",))
    return tmp_path / "out"


def call(server, to, file="mine.jsonl", *more):
    given = ["--engine", "openai", "--engine-model", "tiny-translator", "--base-url", server.url]
    return ["corpus", "translate", file, "--to", to, *given, *(more or ("--output", "out"))]


def refused(server, folder, *given):
    """Return the error of a command, after checking that it sent and wrote nothing."""
    before, asked = {file.name: file.read_bytes() for file in folder.iterdir()}, len(server.asked)
    sentences = {fail(*call(server, *given)), fail(*call(server, *given), "--dry-run")}
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before and len(server.asked) == asked
    (sentence,) = sentences
    return sentence


def test_a_language_that_would_be_dropped(server, folder):
    said = "out/prompts.jsonl also contains Danish (da); use --to da,ko to keep it, or choose another --output."
    assert refused(server, folder, "ko") == f"Error: {said}"
    succeed(*call(server, "da,ko"))
    assert {*read_lines(folder / "prompts.jsonl")[0]} >= {"en", "da", "ko"}
    said = "also contains Danish (da), Korean (ko); use --to da,ko,sw to keep them, or choose another --output."
    assert said in refused(server, folder, "sw")
    assert "also contains Danish (da); use --to da,ko to keep it" in refused(server, folder, "ko")


def test_a_language_that_only_the_review_file_holds(server, folder):
    server.behave = lambda texts, target, number: REFUSAL if target == "Korean" else None
    succeed(*call(server, "da,ko"))
    assert not (folder / "prompts.jsonl").exists()
    assert "out/review.csv also contains Danish (da); use --to da,ko" in refused(server, folder, "ko")
    succeed(*call(server, "da"))  # nothing in Korean was usable


def test_a_column_that_moved_into_the_source_is_not_dropped(server, folder):
    made = (folder / "prompts.jsonl").read_text("utf-8")
    (folder.parent / "mine.jsonl").write_text(made, "utf-8")
    succeed(*call(server, "ko"))
    assert {*read_lines(folder / "prompts.jsonl")[0]} >= {"en", "da", "ko"}


def test_a_folder_with_only_a_cache_accepts_any_language(server, folder):
    for name in ("prompts.jsonl", "review.csv"):
        (folder / name).unlink()
    succeed(*call(server, "ko"))
    assert {*read_lines(folder / "prompts.jsonl")[0]} >= {"en", "ko"}


@pytest.mark.parametrize("rows", [STRANGERS, NAMESAKES])
@pytest.mark.parametrize("lost", [None, "prompts.jsonl"])
def test_a_folder_of_another_file(server, folder, rows, lost):
    if lost:
        (folder / lost).unlink()
    write_rows(folder.parent / "other.jsonl", rows)
    said = refused(server, folder, "da", "other.jsonl")
    assert f"out/{'review.csv' if lost else 'prompts.jsonl'} belongs to a different input file than other.jsonl" in said
    assert said.endswith("choose another --output.")


def test_two_files_of_one_name_have_one_default_folder(server, folder):
    for place, rows in (("a", ROWS), ("b", STRANGERS)):
        (folder.parent / place).mkdir()
        write_rows(folder.parent / place / "mine.jsonl", rows)
    default = ("--min-chrf", "35")
    succeed(*call(server, "da", "a/mine.jsonl", *default))
    there = folder.parent / "mine-multilingual"
    assert "belongs to a different input file" in refused(server, there, "da", "b/mine.jsonl", *default)
    # The same rows in another format are the same file.
    lines = [f'{name},{label},"{text}"' for name, label, text in ROWS]
    (folder.parent / "mine.csv").write_text("\n".join(["id,label,en", *lines]))
    assert "All texts are already translated." in succeed(*call(server, "da", "mine.csv", *default))


def test_a_file_can_be_extended_and_corrected(server, folder):
    asked = len(server.texts("Danish"))
    corrected = [(name, label, text if name == "h1" else f"{text} Please.") for name, label, text in ROWS]
    write_rows(folder.parent / "mine.jsonl", [*corrected, STRANGERS[0]])
    succeed(*call(server, "da"))
    assert len(server.texts("Danish")) - asked == len(ROWS)
    assert [row["en"] for row in read_lines(folder / "prompts.jsonl")] == [row[2] for row in [*corrected, STRANGERS[0]]]
    write_rows(folder.parent / "mine.jsonl", corrected[:1])
    succeed(*call(server, "da"))


def test_a_damaged_result_is_an_error(server, folder):
    content = (folder / "prompts.jsonl").read_text("utf-8")
    (folder / "prompts.jsonl").write_text(content[:-20], "utf-8")
    assert "out/prompts.jsonl is damaged" in refused(server, folder, "da")
    (folder / "prompts.jsonl").unlink()
    succeed(*call(server, "da"))
    assert [json.loads(line) for line in content.splitlines()] == read_lines(folder / "prompts.jsonl")
