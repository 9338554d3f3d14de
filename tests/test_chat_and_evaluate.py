"""`babelguard chat` and `babelguard evaluate` on tiny models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny
from calls import fail, succeed, tree

from babelguard.defences.written import WRITTEN_PROMPTS
from babelguard.jobs.local_subject import list_defences
from babelguard.jobs.open_target import open_target
from babelguard.prompt import SafetyPrompt

pytestmark = pytest.mark.usefixtures("judge_of_bytes")


def test_chat_is_defended_and_finds_the_model_of_its_run(finished):
    folder, _ = finished("llama")
    # A placeholder typed by the user never inserts the soft prompt.
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
    assert "new conversation" in said


def test_chat_with_a_system_message_for_a_template_without_system_role(files, tmp_path):
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
    call += ("--judge", "patterns")
    succeed(*call, "--dtype", "float32", "--reply-tokens", 4)
    made = run / "evaluations" / "mine-patterns"
    metrics = json.loads((made / "metrics.json").read_text())
    assert {(row["defence"], row["language"]) for row in metrics["rows"]} == {
        (defence, code) for defence in ("none", "written", "mcd") for code in ("en", "sw")
    }
    assert {row["language"]: row["trained"] for row in metrics["rows"]} == {"en": True, "sw": False}
    given = {"model": None, "device": "cpu", "dtype": "float32", "trust_remote_code": False, "say": print}
    written = list_defences(open_target(str(run), **given), {"written": None}, print)[0]
    assert written.system == WRITTEN_PROMPTS["short"]  # the baseline of the run
    before = tree(made)
    succeed(*call, "--dtype", "float32", "--reply-tokens", 4)
    assert tree(made) == before
    prompts.write_text(json.dumps(rows[0]))
    assert "other prompts" in fail(*call)


def test_a_model_that_was_moved_is_given_with_model(finished, folders, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished("qwen2")[0], run)
    (run / "local.json").write_text(json.dumps({"model": str(tmp_path / "gone")}))
    assert "--model" in fail("chat", run)
    succeed("chat", run, "--model", folders("qwen2"), "--tokens", 2, input="Hi\n")
    (run / "local.json").unlink()
    assert "--model" in fail("chat", run)
    assert "only works with its own base model" in fail("chat", run, "--model", folders("gemma3"))
