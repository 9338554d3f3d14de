"""`babelguard.fit`, with options or with complete settings, does the same as the command line."""

from __future__ import annotations

import json

import pytest
import torch
from calls import succeed, tree, user_error

import babelguard
from babelguard import SafetyPrompt, Settings, fit
from babelguard.jobs.open_target import open_target
from babelguard.screen import Screen

pytestmark = pytest.mark.usefixtures("judge_of_bytes")
# The content of quick.toml in calls.py.
SMALL = {
    "device": "cpu",
    "dtype": "float32",
    "objective": {"anchor_rows": 4, "anchor_tokens": 4},
    "training": {"batch_size": 4, "prompt_length": 6, "steps": 6},
    "selection": {"rows": 2, "every": 3, "judge": "patterns"},
    "evaluation": {"written": "short", "judge": "patterns", "other_judges": (), "reply_tokens": 4},
}
# These files name the time or the location of files.
LOCAL = {"environment.json", "local.json"}


def assert_same_files(found, expected):
    one, other = ({k: v for k, v in tree(folder).items() if k not in LOCAL} for folder in (found, expected))
    assert one.keys() == other.keys()
    for path, content in one.items():
        assert content == other[path], path


@pytest.mark.parametrize("preset", [None, "mcd", "dro"])
def test_fit_with_options_does_the_same_as_the_command(finished, command, folders, files, tmp_path, preset):
    if preset == "dro":
        succeed(*command("llama", tmp_path / "cli", "--preset", preset))
        whole = tmp_path / "cli"
    else:
        whole, _ = finished("llama")
    prompt = fit(
        str(folders("llama")),
        preset=preset,
        languages="en,da",
        corpus=files / "corpus.csv",
        steps=6,
        config=files / "quick.toml",
        output=tmp_path / "run",
    )
    assert_same_files(tmp_path / "run", whole)
    assert torch.equal(prompt.theta, SafetyPrompt.from_pretrained(whole / "safety_prompt").theta)


def test_fit_with_complete_settings_does_the_same_as_the_command(finished, folders, files, tmp_path):
    whole, _ = finished("llama")
    data = {"languages": ("en", "da"), "corpus": files / "corpus.csv"}
    settings = Settings(model=str(folders("llama")), preset="mcd", data=data, **SMALL)
    fit(settings, output=tmp_path / "run")
    assert_same_files(tmp_path / "run", whole)
    metrics = (tmp_path / "run" / "metrics.json").read_text()
    assert babelguard.Metrics.model_validate_json(metrics).rows[0].benchmark == "corpus.csv"


def test_fit_loads_a_complete_run(finished, folders, files, tmp_path, monkeypatch):
    whole, _ = finished("llama")
    before = tree(whole)
    monkeypatch.setattr("babelguard.jobs.defend.learn", None)  # calling it would raise a TypeError
    data = {"languages": ("en", "da"), "corpus": files / "corpus.csv"}
    prompt = fit(Settings(model=str(folders("llama")), data=data, **SMALL), output=whole)
    assert prompt.name == "mcd"
    assert tree(whole) == before


def test_fit_with_a_sequence_of_languages_and_another_run_to_reuse(finished, folders, files, tmp_path):
    whole, _ = finished("llama")
    given = {"corpus": files / "corpus.csv", "steps": 6, "config": files / "quick.toml", "reuse": [whole]}
    fit(str(folders("llama")), languages=["en", "da"], output=tmp_path / "run", **given)
    assert (tmp_path / "run" / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()


@pytest.mark.parametrize(
    "options",
    [{"preset": "dro"}, {"languages": "en"}, {"steps": 0}, {"limit": 4}, {"trust_remote_code": False}, {"config": "x"}],
)
def test_options_together_with_complete_settings_are_rejected(options, tmp_path):
    settings = Settings(model="demo")
    sentence = user_error(lambda: fit(settings, output=tmp_path / "run", **options))
    assert f"`{next(iter(options))}` cannot be given together with complete settings" in sentence
    assert not (tmp_path / "run").exists()


def test_mistakes_name_settings_and_not_options_of_the_command_line(folders, files, tmp_path):
    model = str(folders("llama"))
    given = {"corpus": files / "corpus.csv", "languages": "en,da", "device": "cpu", "output": tmp_path / "run"}
    assert "The setting `training.steps` is not valid" in user_error(lambda: fit(model, steps=-1, **given))
    assert "`training.start` has no effect" in user_error(lambda: fit(model, steps=0, start="short", **given))
    assert "There is no preset 'mdc'" in user_error(lambda: fit(model, preset="mdc", **given))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    assert "choose another `output`" in user_error(lambda: fit(model, steps=0, limit=1, **given))


def test_nothing_is_printed_without_a_screen(folders, files, tmp_path, capsys):
    given = {"corpus": files / "corpus.csv", "languages": "en,da", "config": files / "quick.toml", "steps": 0}
    fit(str(folders("llama")), limit=1, output=tmp_path / "silent", **given)
    assert capsys.readouterr().out == ""
    fit(str(folders("llama")), limit=1, output=tmp_path / "shown", screen=Screen(), **given)
    shown = capsys.readouterr().out
    assert "only 1 + 1 test rows per language (`evaluation.rows`)" in shown
    assert "babelguard evaluate" not in shown


def test_analyse_and_evaluate_from_python(finished, files, tmp_path):
    run, _ = finished("llama")
    (tmp_path / "mine.jsonl").write_text(json.dumps({"id": "a", "label": "harmful", "en": "How?"}))
    metrics = babelguard.evaluate(
        str(run),
        tmp_path / "mine.jsonl",
        defences=["none"],
        judge="patterns",
        reply_tokens=4,
        dtype="float32",
        output=tmp_path / "out",
    )
    written = babelguard.Metrics.model_validate_json((tmp_path / "out" / "metrics.json").read_text())
    assert metrics == written
    assert [row.defence for row in metrics.rows] == ["none", "mcd"]
    given = {
        "corpus": files / "corpus.csv",
        "split": "train",
        "anchor_rows": 4,
        "judge": "patterns",
        "dtype": "float32",
    }
    analysis = babelguard.analyse(str(run), output=tmp_path / "analysis", **given)
    assert json.loads((tmp_path / "analysis" / "analysis.json").read_text()) == json.loads(analysis.model_dump_json())


def test_other_commands_use_the_dtype_of_the_run(finished, monkeypatch):
    whole, _ = finished("llama")
    used = []

    class Loaded(Exception):
        pass

    def load(name, *, dtype, **_):
        used.append(dtype)
        raise Loaded

    monkeypatch.setattr("babelguard.jobs.open_target.load_chat_model", load)
    for dtype in ("auto", "bfloat16", "checkpoint"):
        with pytest.raises(Loaded):
            open_target(str(whole), model=None, device="cpu", dtype=dtype, trust_remote_code=False, say=print)
    assert used == ["float32", "bfloat16", "checkpoint"]
