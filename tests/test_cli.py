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
from babelguard.evaluation.outcome import Metrics
from babelguard.jobs import cross_check
from babelguard.judges import Judgement, Verdict
from babelguard.judges.patterns import PatternJudge
from babelguard.prompt import SafetyPrompt

pytestmark = pytest.mark.usefixtures("judge_of_bytes")
PATTERNS = PatternJudge.judge
FAMILIES = ("llama", "qwen2", "mistral", "gemma3")
CELL = {"k", "n", "errors", "strict", "lenient", "low", "high"}
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
            assert cell.keys() == CELL | set(Verdict)
            assert cell["n"] == 3 == sum(cell[verdict] for verdict in Verdict)
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
    assert config["objective"].pop("weighting") == "mean"
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


def test_a_run_does_not_resume_with_another_version_of_the_judge(command, tmp_path, monkeypatch):
    given = command("llama", tmp_path, "--preset", "written", "--steps", 0)
    succeed(*given)
    (tmp_path / "metrics.json").unlink()
    before = tree(tmp_path)
    old = PatternJudge().version
    with monkeypatch.context() as patch:
        patch.setattr(PatternJudge, "CODE_VERSION", PatternJudge.CODE_VERSION + 1)
        sentence = fail(*given)
        assert f"judge was 'patterns {old}', now 'patterns {PatternJudge().version}'" in sentence
        assert "choose another --output" in sentence
        assert tree(tmp_path) == before
    # With the same judge, the same command resumes, and generates no reply again.
    succeed(*given)
    after = tree(tmp_path)
    assert after.pop("metrics.json")
    assert {name for name in after if after[name] != before[name]} <= {"environment.json"}


def test_a_run_does_not_resume_with_another_judge_for_selection(command, files, tmp_path):
    other = (files / "quick.toml").read_text().replace('every = 3\njudge = "patterns"', 'judge = "encoder"')
    (tmp_path / "other.toml").write_text(other)
    given = command("llama", tmp_path / "run", "--preset", "written", "--steps", 0, "--limit", 1)
    succeed(*given)
    given[given.index("--config") + 1] = tmp_path / "other.toml"
    assert "selection.judge was 'patterns', now 'encoder'" in fail(*given)


def test_the_plan_has_the_lengths_and_the_judges(command, files, tmp_path, capsys):
    said = re.sub(r"\s+", " ", succeed(*command("llama", tmp_path / "run", "--dry-run")))
    assert "Length 4, 32 and 4 tokens for English replies; up to 4 times as many for languages that need more" in said
    assert "Judge patterns Time" in said


def test_results_under_other_judges_are_written_and_shown(command, files, tmp_path, monkeypatch):
    """The other judge sees the same replies, and its verdicts are logged apart."""

    class Strict(PatternJudge):
        name = title = "strict"

        def judge(self, exchanges):
            return [Judgement(Verdict.REFUSED, "always") for _ in exchanges]

    real = cross_check.create_judge
    monkeypatch.setattr(
        cross_check, "create_judge", lambda name, options: Strict() if name == "strict" else real(name, options)
    )
    both = (files / "quick.toml").read_text().replace('other_judges = ""', 'other_judges = "strict,nobody,patterns"')
    (tmp_path / "both.toml").write_text(both)
    given = command("llama", tmp_path / "run")
    given[given.index("--config") + 1] = tmp_path / "both.toml"
    said = re.sub(r"\s+", " ", succeed(*given))
    assert "Results are not compared with the judge 'nobody': There is no judge named 'nobody'" in said
    found = Metrics.model_validate_json((tmp_path / "run" / "metrics.json").read_text())
    # The main judge is not its own other judge.
    assert [other.judge for other in found.other_judges] == ["strict"]
    (other,) = found.other_judges
    assert [(one.defence, one.group) for one in other.summary] == [(one.defence, one.group) for one in found.summary]
    assert {one.error for one in other.summary} == {0.5}
    assert [(one.a, one.b, one.mean) for one in other.differences] == [(one.a, one.b, 0.0) for one in found.differences]
    assert {one.error for one in found.summary} != {0.5}
    logs = {name: (tmp_path / "run" / f"verdicts.{name}.jsonl").read_text() for name in ("patterns", "strict")}
    assert {json.loads(line)["split"] for line in logs["strict"].splitlines()} == {"test"}
    assert "judge: strict" in (tmp_path / "run" / "report.md").read_text() and "judge: strict" in said
    # The same command shows the same results again.
    before = tree(tmp_path / "run")
    assert "judge: strict" in succeed(*given)
    assert tree(tmp_path / "run") == before


def test_hard_rows_of_a_corpus_are_reported_apart(command, files, tmp_path):
    rows = (files / "corpus.csv").read_text(encoding="utf-8").splitlines()
    more = [row.replace("test-harmless", "hard-harmless").replace("harmless,test", "harmless,hard") for row in rows]
    path = tmp_path / "hard.csv"
    path.write_text("\n".join([*rows, *(row for row in more if row.startswith("hard-"))]), encoding="utf-8")
    given = command("llama", tmp_path / "run", "--preset", "written", "--steps", 0)
    given[given.index("--corpus") + 1] = path
    said = succeed(*given)
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())["rows"]
    assert {(row["attack_success"]["n"], row["false_refusal"]["n"], row["hard_refusal"]["n"]) for row in found} == {
        (3, 3, 3)
    }
    assert "hard: harmless requests that look harmful; not part of the error" in re.sub(r"\s+", " ", said)
    logged = [json.loads(line) for line in (tmp_path / "run" / "generations.jsonl").read_text().splitlines()]
    assert {line["split"] for line in logged} == {"test", "hard"}


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
