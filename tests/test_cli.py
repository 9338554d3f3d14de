"""`babelguard defend` on tiny models. Their replies are random text, so the judge is replaced."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
from calls import fail, succeed, tree

from babelguard.defences.written import WRITTEN_PROMPTS
from babelguard.judges.patterns import PatternJudge
from babelguard.prompt import SafetyPrompt

pytestmark = pytest.mark.usefixtures("judge_of_bytes")
PATTERNS = PatternJudge.judge
FAMILIES = ("llama", "qwen2", "mistral", "gemma3")
FILES = {
    "config.json",
    "environment.json",
    "local.json",
    "prompts.jsonl",
    "generations.jsonl",
    "verdicts.patterns.jsonl",
    "metrics.json",
    "report.md",
    "safety_prompt/config.json",
    "safety_prompt/model.safetensors",
    "safety_prompt/README.md",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_defend_writes_all_files_of_a_run(finished, folders, name):
    folder, said = finished(name)
    assert tree(folder).keys() >= FILES
    assert f"babelguard chat {folder}" in said
    assert "no token begins" not in said
    rows = json.loads((folder / "metrics.json").read_text())["rows"]
    assert {(row["defence"], row["language"]) for row in rows} == {
        (defence, code) for defence in ("none", "written", "mcd") for code in ("en", "da", "ko")
    }
    for row in rows:
        assert row["trained"] == (row["language"] != "ko")
        assert row["seed"] == (0 if row["defence"] == "mcd" else None)
        assert {"model", "benchmark", "split", "attack", "judge"} <= row.keys()
        for cell in (row["attack_success"], row["false_refusal"]):
            assert cell.keys() == {"k", "n", "broken", "unscored", "low", "high"}
            assert cell["n"] == 3
    prompt = SafetyPrompt.from_pretrained(folder / "safety_prompt")
    assert prompt.theta.shape == (6, 64)
    assert (folder / "report.md").read_text().count("| ") > 10
    # The examples are what the model receives.
    rendered = [json.loads(line) for line in (folder / "prompts.jsonl").read_text().splitlines()]
    assert [prompt.slot.text in row["text"] for row in rendered] == [row["defence"] == "mcd" for row in rendered]
    # Only local.json contains the path of the model.
    here = [path for path, content in tree(folder).items() if str(folders(name).parent).encode() in content]
    assert here == ["local.json"]


def test_a_complete_run_is_not_repeated(finished, command):
    folder, _ = finished("llama")
    before = tree(folder)
    said = succeed(*command("llama", folder))
    assert "This run is complete" in said
    assert tree(folder) == before


def assert_same_run(found, whole):
    """Assert that an interrupted run has the same results. Replies that only training needed may be missing in the logs."""
    one, other = tree(found), tree(whole)
    assert one.keys() == other.keys()
    for path, content in one.items():
        if path.endswith(".jsonl"):
            assert set(content.splitlines()) <= set(other[path].splitlines())
        else:
            assert content == other[path], path


@pytest.mark.parametrize("place", ["babelguard.jobs.anchors.collect_anchors", "babelguard.method.trainer.row_losses"])
def test_an_interrupted_run_resumes_with_the_same_result(finished, command, tmp_path, monkeypatch, place):
    whole, _ = finished("llama")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, stop)
    assert "run the same command again to resume" in fail(*command("llama", tmp_path / "run"), code=130)
    monkeypatch.undo()
    assert "is not finished" in fail("chat", tmp_path / "run")
    log = tmp_path / "run" / "generations.jsonl"
    log.write_bytes(log.read_bytes()[:-20])  # the last line is incomplete
    succeed(*command("llama", tmp_path / "run"))
    assert_same_run(tmp_path / "run", whole)


def test_missing_results_are_made_again(finished, command, tmp_path):
    whole, _ = finished("gemma3")
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for path in ("metrics.json", "report.md", "verdicts.patterns.jsonl"):
        (run / path).unlink()
    shutil.rmtree(run / "safety_prompt")
    lines = (run / "generations.jsonl").read_bytes().splitlines(keepends=True)
    (run / "generations.jsonl").write_bytes(b"".join(lines[: len(lines) // 3]))
    succeed(*command("gemma3", run))
    assert_same_run(run, whole)


def test_a_run_killed_before_its_settings_were_written_resumes(command, tmp_path):
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "config.json.part").write_text("{")
    succeed(*command("llama", tmp_path, "--preset", "written", "--steps", 0, "--limit", 1))


def test_dry_run_prints_the_plan_and_writes_nothing(command, tmp_path):
    said = succeed(*command("mistral", tmp_path / "run", "--dry-run"))
    for text in ("6 soft tokens", "6 steps of 4 rows", "Korean (ko)", str(tmp_path / "run"), "minutes"):
        assert text in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("given", "by"), [((), "preset quick"), (("--limit", 2), "--limit")])
def test_the_plan_names_the_option_that_limits_the_test_rows(command, tmp_path, given, by):
    said = succeed(*command("llama", tmp_path / "run", "--preset", "quick", *given, "--dry-run"))
    assert re.search(rf"Note +only \d+ \+ \d+ test rows per language \({by}\)", said)


def test_answers_in_another_language_are_counted(command, tmp_path, monkeypatch):
    monkeypatch.setattr("babelguard.evaluation.judging.is_foreign", lambda reply, language: language != "en")
    said = succeed(*command("llama", tmp_path, "--preset", "written", "--steps", 0))
    rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    for row in rows:
        answered = row["false_refusal"]["n"] - row["false_refusal"]["k"]
        elsewhere = 0 if row["language"] == "en" else answered
        assert row["other_language"] == {"k": elsewhere, "n": answered}
    assert sum(row["other_language"]["k"] for row in rows) > 0
    assert "replies to harmless requests in another language than the request" in re.sub(r"\s+", " ", said)


def test_settings_that_did_not_exist_yet_have_their_default(command, tmp_path):
    given = command("llama", tmp_path, "--preset", "dro", "--limit", 1, "--steps", 2)
    succeed(*given)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["objective"]["weights"].pop("opening") == 0.0
    assert config["objective"].pop("language_weighting") == "mean"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "This run is complete" in succeed(*given)
    config["objective"]["weights"]["opening"] = 1.0
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "objective.weights.opening was 1.0, now 0.0" in fail(*given)


def test_a_run_whose_model_was_moved_is_the_same_run(finished, command, folders, tmp_path):
    shutil.copytree(finished("llama")[0], tmp_path / "run")
    shutil.copytree(folders("llama"), tmp_path / "llama-chat")
    line = command("llama", tmp_path / "run")
    line[1] = tmp_path / "llama-chat"
    assert "This run is complete" in succeed(*line)
    assert json.loads((tmp_path / "run" / "local.json").read_text()) == {"model": str(tmp_path / "llama-chat")}


def test_runs_with_the_old_flat_settings_are_rejected(command, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model": "demo", "preset": "mcd", "opening_weight": 1.0}))
    sentence = fail(*command("llama", tmp_path))
    assert "made by an older version of babelguard" in sentence
    assert "choose another --output" in sentence


def test_a_new_version_of_the_judge_judges_all_replies_again(command, tmp_path, monkeypatch):
    given = command("llama", tmp_path, "--preset", "written", "--steps", 0)
    succeed(*given)
    (tmp_path / "metrics.json").unlink()
    before = (tmp_path / "generations.jsonl").read_bytes()
    monkeypatch.setattr("babelguard.evaluation.judging.is_foreign", lambda reply, language: True)
    monkeypatch.setattr(PatternJudge, "CODE_VERSION", PatternJudge.CODE_VERSION + 1)
    succeed(*given)
    rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    foreign, answered = (sum(row["other_language"][part] for row in rows) for part in ("k", "n"))
    assert foreign == answered > 0
    assert (tmp_path / "generations.jsonl").read_bytes() == before


@pytest.mark.parametrize("preset", ["dro", "mcd-mixture", "mcd-code", "mcd-paper", "quick"])
def test_every_preset_trains(command, tmp_path, preset):
    succeed(*command("qwen3", tmp_path, "--preset", preset, "--limit", 1, "--steps", 2))
    config = json.loads((tmp_path / "safety_prompt" / "config.json").read_text())
    assert (config["name"], config["training"]["steps"]) == (preset, 2)


def test_the_preset_written_selects_a_prompt_and_does_not_train(command, tmp_path):
    succeed(*command("qwen2", tmp_path, "--preset", "written", "--steps", 0, "--prompt", "best", "--limit", 1))
    start = json.loads((tmp_path / "safety_prompt" / "config.json").read_text())["training"]["start"]
    rendered = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    assert start in WRITTEN_PROMPTS.values()
    assert sum(start in row["text"] for row in rendered) == 3
    rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert {row["defence"] for row in rows} == {"none", "written"}


def test_a_model_that_never_refuses_has_nothing_to_align(command, tmp_path, monkeypatch):
    monkeypatch.setattr(PatternJudge, "judge", PATTERNS)
    sentence = fail(*command("llama", tmp_path))
    assert "There is nothing to align" in sentence
    assert not (tmp_path / "safety_prompt").exists()


def test_the_package_can_be_run_with_python_m():
    found = subprocess.run(
        [sys.executable, "-m", "babelguard", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("babelguard ")


def test_help_does_not_import_heavy_libraries():
    code = (
        "import sys; sys.argv = ['babelguard', *sys.argv[1:]]; from babelguard.cli.app import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('heavy', [name for name in ('torch', 'transformers', 'sklearn') if name in sys.modules])"
    )
    for arguments in (["--help"], ["defend", "--help"], ["--version"]):
        out = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        assert "heavy []" in out.stdout
        assert "babelguard" in out.stdout
