"""Invalid input to `babelguard corpus translate`: one sentence, before anything is sent or written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from calls import fail, invoke, succeed
from translator import write_rows


@pytest.fixture
def call(server, tmp_path):
    """Build valid arguments. Named ones are replaced."""

    def build(*more, **given):
        good = {"to": "ko", "engine": "openai", "engine-model": "tiny", "base-url": server.url}
        good |= {"output": tmp_path / "out"} | {name.replace("_", "-"): text for name, text in given.items()}
        path = good.pop("file", None) or write_rows(tmp_path / "mine.jsonl")
        return ["corpus", "translate", path, *more, *(part for k, v in good.items() for part in (f"--{k}", v))]

    return build


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"engine": "deepl"}, "There is no engine 'deepl'; choose openai or transformers."),
        ({"to": "kr"}, "did you mean 'ko' (Korean)"),
        ({"to": "klingon"}, "'klingon' is not known"),
        ({"to": "ko,en"}, "English (en) is the source language"),
        ({"to": " , "}, "No target language is given"),
        ({"base_url": "localhost"}, "is not a URL"),
        ({"file": "gone.csv"}, "There is no file gone.csv"),
    ],
)
def test_bad_options(call, server, tmp_path, given, words):
    assert words in fail(*call(**given))
    assert not (tmp_path / "out").exists() and not server.asked


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"id": "a", "label": "harmful", "da": "Hej med dig"}, "has no column 'en'"),
        ({"id": "a", "label": "harmful", "en": " "}, "'en' of the row 'a' is empty"),
        ({"id": "a", "en": "Hello"}, "'label' is missing"),
        ({"id": "a", "label": "harmful", "en": "Hello", "ko": "안녕"}, "Korean (ko) is already in"),
    ],
)
def test_bad_files(call, server, tmp_path, row, words):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(row))
    assert words in fail(*call(file=path))
    assert not server.asked


def test_a_missing_key(call, server, tmp_path):
    server.behave = lambda *_: 401
    assert "set OPENAI_API_KEY" in fail(*call())
    assert not (tmp_path / "out" / "prompts.jsonl").exists()
    server.behave = lambda *_: None
    succeed(*call())  # files left by the failed command do no harm


def test_an_output_folder_with_other_files(call, server, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "is a file" in fail(*call(output=tmp_path / "file"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    assert "is not a translation" in fail(*call(output=tmp_path / "full"))
    # A run folder has files with the same names as a translation.
    for name in ("prompts.jsonl", "report.md"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_text("mine")
        assert "is not a translation" in fail(*call(output=tmp_path / "run"))
    assert (tmp_path / "run" / "prompts.jsonl").read_text() == "mine"
    assert not server.asked


def test_the_file_itself_is_never_overwritten(call, server, tmp_path, monkeypatch):
    path = write_rows(tmp_path / "prompts.jsonl")
    before = path.read_bytes()
    (tmp_path / "translations.jsonl").write_text("")  # marks the folder as a translation
    monkeypatch.chdir(tmp_path)
    for file, output in ((path, tmp_path), ("prompts.jsonl", "."), (path, tmp_path / "x" / "..")):
        assert "would be overwritten by its translation" in fail(*call(file=file, output=output))
    assert path.read_bytes() == before and not server.asked


def test_a_damaged_cache(call, server, tmp_path):
    (tmp_path / "out").mkdir()
    log = tmp_path / "out" / "translations.jsonl"
    for damage, words in (("{no\n", "Line 1"), ('{"key": "k"}\n', "(translation: Field required)")):
        log.write_text(damage)
        assert words in fail(*call())
        assert log.read_text() == damage
    assert not server.asked


@pytest.mark.parametrize("library", ["openai", "sacrebleu"])
def test_missing_libraries(call, server, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    sentence = fail(*call())
    assert library in sentence and "pip install 'babelguard[translate]'" in sentence
    assert not server.asked and not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_reported_before_the_first_request(call, server, tmp_path, monkeypatch):
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    sentence = fail(*call())
    assert "out is not a folder; choose another --output" in sentence
    (tmp_path / "out").unlink()

    def locked(path, flags):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("babelguard.files.log._not_a_link", locked)
    for content in (None, ""):  # without and with an existing file
        if content is not None:
            (tmp_path / "out" / "translations.jsonl").write_text(content)
        sentence = fail(*call())
        assert "(Permission denied); make it writable" in sentence and "free some space" not in sentence
    assert not server.asked


def test_an_output_that_cannot_be_read(call, server, tmp_path, monkeypatch):
    assert "Not a directory" in fail(*call(output=write_rows(tmp_path / "mine.jsonl") / "out"))
    (tmp_path / "out").mkdir()
    listed = Path.iterdir

    def locked(path):
        if path.name == "out":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", locked)
    assert "out cannot be read (Permission denied); choose another --output." in fail(*call())
    monkeypatch.undo()
    (tmp_path / "out" / "translations.jsonl").mkdir()
    assert "translations.jsonl is damaged (Is a directory); delete it" in fail(*call())
    assert not server.asked


def test_a_full_disk(call, server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("babelguard.files.log.os.fsync", full)
    sentence = fail(*call())
    assert "No space left" in sentence and "free some space" in sentence
    assert server.asked
    assert (tmp_path / "out" / "translations.jsonl").read_bytes() == b""


def test_options_out_of_range_and_help(call):
    assert invoke(*call("--parallel", "0")).exit_code == 2
    assert "correct" not in succeed("corpus", "--help")
    said = succeed("corpus", "translate", "--help")
    assert "--engine-model" in said and "transformers" in said


def test_an_endpoint_needs_neither_torch_nor_transformers(call):
    code = (
        "import sys; from babelguard.cli.app import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "print('heavy', [name for name in ('torch', 'transformers', 'sklearn') if name in sys.modules])"
    )
    for arguments in (["corpus", "translate", "--help"], call()):
        run = [sys.executable, "-c", code, *map(str, arguments)]
        assert "heavy []" in subprocess.run(run, capture_output=True, text=True, check=True).stdout
