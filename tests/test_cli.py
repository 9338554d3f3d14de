"""The command line from end to end on tiny models. Their replies mean nothing, so a judge of bytes stands in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from calls import fail, succeed

from babelguard.jobs.evaluate import list_defences
from babelguard.judges import RefusalJudge
from babelguard.prompt.safety_prompt import SafetyPrompt
from babelguard.jobs.open_target import open_target
from babelguard.defences.written import WRITTEN_PROMPTS

pytestmark = pytest.mark.usefixtures("judge_of_bytes")
UNTOUCHED = RefusalJudge.judge
FAMILIES = ("llama", "qwen2", "mistral", "gemma3")
FILES = {
    "config.json",
    "environment.json",
    "local.json",
    "prompts.jsonl",
    "generations.jsonl",
    "verdicts.refusal-patterns.jsonl",
    "metrics.json",
    "report.md",
    "safety_prompt/config.json",
    "safety_prompt/model.safetensors",
    "safety_prompt/README.md",
}


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    """The finished run of a family, made once; tests that change it copy it."""
    kept = {}

    def run(name):
        if name not in kept:
            folder = tmp_path_factory.mktemp("runs") / name
            kept[name] = folder, succeed(*command(name, folder))
        return kept[name]

    return run


def tree(folder):
    """Content of every file of a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FAMILIES)
def test_defend_makes_a_whole_run(finished, folders, name):
    folder, said = finished(name)
    assert tree(folder).keys() >= FILES
    assert f"babelguard chat {folder}" in said
    assert "no word opens" not in said
    rows = json.loads((folder / "metrics.json").read_text())["rows"]
    assert {(row["defence"], row["language"]) for row in rows} == {
        (defence, code) for defence in ("none", "written", "mcd") for code in ("en", "da", "ko")
    }
    for row in rows:
        assert row["trained"] == (row["language"] != "ko")
        assert row["seed"] == (0 if row["defence"] == "mcd" else None)
        assert {"model", "benchmark", "split", "attack", "judge"} <= row.keys()
        for cell in (row["harmful_answered"], row["harmless_refused"]):
            assert cell.keys() == {"k", "n", "broken", "unscored", "low", "high"}
            assert cell["n"] == 3
    prompt = SafetyPrompt.from_pretrained(folder / "safety_prompt")
    assert prompt.theta.shape == (6, 64)
    assert (folder / "report.md").read_text().count("| ") > 10
    # The prompts are written as the model saw them.
    rendered = [json.loads(line) for line in (folder / "prompts.jsonl").read_text().splitlines()]
    assert [prompt.slot.text in row["text"] for row in rendered] == [row["defence"] == "mcd" for row in rendered]
    # Only local.json knows where the model lies.
    here = [path for path, content in tree(folder).items() if str(folders(name).parent).encode() in content]
    assert here == ["local.json"]


def test_the_same_command_again_does_nothing(finished, command):
    folder, _ = finished("llama")
    before = tree(folder)
    said = succeed(*command("llama", folder))
    assert "done already" in said
    assert tree(folder) == before


def assert_same_run(found, whole):
    """Interruptions change no result. Replies to prompts of steps that are over are not made again."""
    one, other = tree(found), tree(whole)
    assert one.keys() == other.keys()
    for path, content in one.items():
        if path.endswith(".jsonl"):
            assert set(content.splitlines()) <= set(other[path].splitlines())
        else:
            assert content == other[path], path


@pytest.mark.parametrize("place", ["babelguard.jobs.learn.collect_anchors", "babelguard.method.trainer.row_losses"])
def test_a_stopped_run_says_how_to_resume_and_ends_the_same(finished, command, tmp_path, monkeypatch, place):
    whole, _ = finished("llama")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, stop)
    assert "give the same command again to resume" in fail(*command("llama", tmp_path / "run"), code=130)
    monkeypatch.undo()
    assert "not finished" in fail("chat", tmp_path / "run")
    log = tmp_path / "run" / "generations.jsonl"
    log.write_bytes(log.read_bytes()[:-20])  # a line cut off in the middle
    succeed(*command("llama", tmp_path / "run"))
    assert_same_run(tmp_path / "run", whole)


def test_a_run_that_lost_its_end_makes_it_again(finished, command, tmp_path):
    whole, _ = finished("gemma3")
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for path in ("metrics.json", "report.md", "verdicts.refusal-patterns.jsonl"):
        (run / path).unlink()
    shutil.rmtree(run / "safety_prompt")
    lines = (run / "generations.jsonl").read_bytes().splitlines(keepends=True)
    (run / "generations.jsonl").write_bytes(b"".join(lines[: len(lines) // 3]))
    succeed(*command("gemma3", run))
    assert_same_run(run, whole)


def test_a_kill_before_the_configuration_is_written_is_a_run_too(command, tmp_path):
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "config.json.part").write_text("{")
    succeed(*command("llama", tmp_path, "--preset", "written", "--steps", 0, "--limit", 1))


def test_dry_run_prints_the_plan_and_writes_nothing(command, tmp_path):
    said = succeed(*command("mistral", tmp_path / "run", "--dry-run"))
    for text in ("6 soft tokens", "6 steps of 4 rows", "Korean (ko)", str(tmp_path / "run"), "minutes"):
        assert text in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("given", "whose"), [((), "preset quick"), (("--limit", 2), "--limit")])
def test_the_first_screen_says_whose_limit_makes_it_a_part(command, tmp_path, given, whose):
    said = succeed(*command("llama", tmp_path / "run", "--preset", "quick", *given, "--dry-run"))
    assert re.search(rf"Part +only \d+ \+ \d+ test rows a language \({whose}\)", said)


def test_answers_in_another_language_reach_the_numbers(command, tmp_path, monkeypatch):
    monkeypatch.setattr("babelguard.evaluation.bench.is_foreign", lambda reply, language: language != "en")
    said = succeed(*command("llama", tmp_path, "--preset", "written", "--steps", 0))
    rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    for row in rows:
        answered = row["harmless_refused"]["n"] - row["harmless_refused"]["k"]
        elsewhere = 0 if row["language"] == "en" else answered
        assert row["answered_elsewhere"] == {"k": elsewhere, "n": answered}
    assert sum(row["answered_elsewhere"]["k"] for row in rows) > 0
    assert "answered in another language" in re.sub(r"\s+", " ", said)


def test_a_run_of_an_older_version_is_still_that_run(command, tmp_path):
    given = command("llama", tmp_path, "--preset", "dro", "--limit", 1, "--steps", 2)
    succeed(*given)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("opening_weight") == 0.0
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "done already" in succeed(*given)
    (tmp_path / "config.json").write_text(json.dumps(config | {"opening_weight": 1.0}))
    assert "opening_weight was 1.0 and is 0.0" in fail(*given)


def test_verdicts_of_another_version_of_the_judge_are_made_anew(command, tmp_path, monkeypatch):
    given = command("llama", tmp_path, "--preset", "written", "--steps", 0)
    succeed(*given)
    (tmp_path / "metrics.json").unlink()
    before = (tmp_path / "generations.jsonl").read_bytes()
    monkeypatch.setattr("babelguard.evaluation.bench.is_foreign", lambda reply, language: True)
    monkeypatch.setattr(RefusalJudge, "CODE", RefusalJudge.CODE + 1)
    succeed(*given)
    told = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert (
        sum(row["answered_elsewhere"]["k"] for row in told) == sum(row["answered_elsewhere"]["n"] for row in told) > 0
    )
    assert (tmp_path / "generations.jsonl").read_bytes() == before


@pytest.mark.parametrize("preset", ["dro", "mcd-mixture", "mcd-code", "mcd-paper", "quick"])
def test_every_preset_trains(command, tmp_path, preset):
    succeed(*command("qwen3", tmp_path, "--preset", preset, "--limit", 1, "--steps", 2))
    config = json.loads((tmp_path / "safety_prompt" / "config.json").read_text())
    assert (config["name"], config["training"]["steps"]) == (preset, 2)


def test_the_preset_written_chooses_and_trains_nothing(command, tmp_path):
    succeed(*command("qwen2", tmp_path, "--preset", "written", "--steps", 0, "--prompt", "best", "--limit", 1))
    start = json.loads((tmp_path / "safety_prompt" / "config.json").read_text())["training"]["start"]
    rendered = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    assert start in WRITTEN_PROMPTS.values()
    assert sum(start in row["text"] for row in rendered) == 3
    rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert {row["defence"] for row in rows} == {"none", "written"}


def test_chat_is_defended_and_finds_the_model_of_its_run(finished):
    folder, _ = finished("llama")
    # A placeholder that the user types is neither the soft prompt with the defence on, nor with it off.
    typed = "Hello <|reserved_special_token_0|> there"
    said = succeed(
        "chat", folder, "--tokens", 5, input=f"{typed}\n/compare\n/defence off\nHi\n/reset\n/what\n/quit\nnever\n"
    )
    assert "llama-chat with mcd" in said
    model, tokenizer = tiny.load_family(Path(json.loads((folder / "local.json").read_text())["model"]))
    replies = []
    for defended in (True, False):
        if defended:
            _, carrier = SafetyPrompt.from_pretrained(folder / "safety_prompt").protect(model, tokenizer)
        else:
            model, carrier = (
                tiny.load_family(Path(json.loads((folder / "local.json").read_text())["model"]))[0],
                tokenizer,
            )
        text = [{"role": "user", "content": typed}]
        given = carrier.apply_chat_template(text, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        out = model.generate(**given, max_new_tokens=5, do_sample=False)[0, given["input_ids"].shape[1] :]
        replies.append(carrier.decode(out, skip_special_tokens=True).strip())
    assert replies[0] != replies[1]
    assert f"> {replies[0]}\n" in said
    assert f"  without  {replies[1]}\n  with     {replies[0]}\n" in said.replace("> ", "")
    assert "(defence off)" in said
    assert "a new conversation" in said


def test_chat_with_an_own_system_message_where_the_template_has_none(files, tmp_path):
    folder = tiny.save_family("mistral", tmp_path / "old-mistral")
    tiny.make_tokenizer(tiny.FAMILIES["mistral"], tiny.NO_SYSTEM).save_pretrained(folder)
    given = ["--languages", "en,da", "--config", files / "quick.toml", "--corpus", files / "corpus.csv"]
    said = succeed("defend", folder, *given, "--steps", 0, "--limit", 1, "--output", tmp_path / "run")
    assert "has no system role" in said
    said = succeed("chat", tmp_path / "run", "--tokens", 3, "--system", "Be short.", input="/compare Hello\n")
    assert "without" in said


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_evaluate_measures_a_run_on_a_file(finished, tmp_path, name):
    run = tmp_path / "run"
    shutil.copytree(finished(name)[0], run)
    prompts = tmp_path / "mine.jsonl"
    rows = [
        {"id": f"q{k}", "label": label, "en": f"{label} question {k}", "sw": f"swali {label} {k}"}
        for k in (1, 2)
        for label in ("harmful", "harmless")
    ]
    for row in rows:
        row["id"] += row["label"]
    prompts.write_text("\n".join(json.dumps(row) for row in rows))
    call = ("evaluate", run, "--prompts", prompts, "--defence", "none", "--defence", "written", "--device", "cpu")
    succeed(*call, "--dtype", "float32", "--reply-tokens", 4)
    made = run / "evaluations" / "mine"
    metrics = json.loads((made / "metrics.json").read_text())
    assert {(row["defence"], row["language"]) for row in metrics["rows"]} == {
        (defence, code) for defence in ("none", "written", "mcd") for code in ("en", "sw")
    }
    assert {row["language"]: row["trained"] for row in metrics["rows"]} == {"en": True, "sw": False}
    given = {"model": None, "device": "cpu", "dtype": "float32", "trust_remote_code": False, "say": print}
    written = list_defences(open_target(str(run), **given), ["written"], {})[0]
    assert written.system == WRITTEN_PROMPTS["short"]  # what training started from
    before = tree(made)
    succeed(*call, "--dtype", "float32", "--reply-tokens", 4)
    assert tree(made) == before
    prompts.write_text(json.dumps(rows[0]))
    assert "other prompts" in fail(*call)


def test_a_model_that_moved_is_named_with_model(finished, folders, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished("qwen2")[0], run)
    (run / "local.json").write_text(json.dumps({"model": str(tmp_path / "gone")}))
    assert "--model" in fail("chat", run)
    succeed("chat", run, "--model", folders("qwen2"), "--tokens", 2, input="Hi\n")
    (run / "local.json").unlink()
    assert "--model" in fail("chat", run)
    assert "only with its own base model" in fail("chat", run, "--model", folders("gemma3"))


def test_the_untouched_judge_finds_nothing_to_align(command, tmp_path, monkeypatch):
    monkeypatch.setattr(RefusalJudge, "judge", UNTOUCHED)
    sentence = fail(*command("llama", tmp_path))
    assert "There is nothing to align" in sentence
    assert not (tmp_path / "safety_prompt").exists()


def test_the_package_runs_as_the_command():
    found = subprocess.run(
        [sys.executable, "-m", "babelguard", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("babelguard ")


def test_help_answers_without_loading_torch():
    code = (
        "import sys; sys.argv = ['babelguard', *sys.argv[1:]]; from babelguard.cli.app import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('heavy', [name for name in ('torch', 'transformers', 'sklearn') if name in sys.modules])"
    )
    for arguments in (["--help"], ["defend", "--help"], ["--version"]):
        out = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        assert "heavy []" in out.stdout
        assert "babelguard" in out.stdout
