"""Damaged files, full disks, folders of other runs, and mistakes in `chat` and `evaluate` end in one sentence."""

from __future__ import annotations

import errno
import json
import shutil

import pytest
from calls import fail, succeed

pytestmark = pytest.mark.usefixtures("judge_of_bytes")


@pytest.fixture(scope="module")
def small_run(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "run"
    succeed(*command("llama", folder, "--limit", 1, "--steps", 1))
    return folder


def test_output_folders_of_another_run_or_with_other_files(command, tmp_path):
    run = tmp_path / "run"
    succeed(*command("llama", run, "--steps", 0, "--limit", 1))
    sentence = fail(*command("llama", run, "--steps", 0, "--limit", 1, "--seed", 1))
    assert "contains another run (seed was 0, now 1)" in sentence
    assert "model_fingerprint" in fail(*command("qwen2", run, "--steps", 0, "--limit", 1))
    (run / "config.json").write_text("[]")
    assert "is damaged" in fail(*command("llama", run, "--steps", 0, "--limit", 1))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    assert "contains files that do not belong to a run" in fail(*command("llama", tmp_path / "other"))
    assert "is a file, not a folder" in fail(*command("llama", tmp_path / "other" / "thesis.tex"))
    assert (tmp_path / "other" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("place", ["babelguard.files.writing.os.fsync", "babelguard.files.writing.os.replace"])
def test_a_full_disk_loses_nothing(command, tmp_path, monkeypatch, place):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    line = command("llama", tmp_path / "run", "--limit", 1, "--steps", 3)
    monkeypatch.setattr(place, full)
    sentence = fail(*line)
    assert "No space left on device" in sentence
    assert "free some space" in sentence
    monkeypatch.undo()
    succeed(*line)
    assert (tmp_path / "run" / "metrics.json").exists()


def test_a_full_disk_while_the_report_is_written(command, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("babelguard.jobs.defend.write_report", full)
    assert "The disk is full" in fail(*command("llama", tmp_path / "run", "--limit", 1, "--steps", 0))


def test_running_out_of_memory(command, tmp_path, monkeypatch):
    def short(*_, **__):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("babelguard.method.trainer.row_losses", short)
    sentence = fail(*command("llama", tmp_path / "run"))
    assert "There is not enough memory" in sentence
    assert "--dtype bfloat16" in sentence
    assert "training.batch_size (in the configuration file)" in sentence
    monkeypatch.undo()
    monkeypatch.setattr("babelguard.jobs.load_model.load_chat_model", short)
    assert "There is not enough memory" in fail(*command("llama", tmp_path / "other"))


@pytest.mark.parametrize(
    ("file", "more"),
    [
        ("training/checkpoint.safetensors", ["safety_prompt", "metrics.json"]),
        ("metrics.json", []),
        ("batch_size.json", ["metrics.json"]),
    ],
)
def test_files_damaged_by_a_power_cut(command, small_run, tmp_path, file, more):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    for name in more:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    (run / file).write_bytes(b"{")
    line = command("llama", run, "--limit", 1, "--steps", 1)
    said = fail(*line)
    assert f"{run / file} is damaged (" in said and "; delete it, then run" in said
    (run / file).unlink()
    succeed(*line)


def test_logs_with_a_damaged_line(command, small_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    (run / "metrics.json").unlink()
    log = run / "generations.jsonl"
    log.write_text("{broken\n" + log.read_text())
    assert "Line 1 of" in fail(*command("llama", run, "--limit", 1, "--steps", 1))


def test_damaged_prompts_and_targets_that_are_not_prompts(small_run, folders, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    weights = run / "safety_prompt" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    assert "damaged" in fail("chat", run)
    assert "damaged" in fail("chat", run / "safety_prompt")
    assert "is neither a run nor a safety prompt" in fail("chat", folders("llama"))
    assert "is not a model folder" in fail("chat", tmp_path / "missing")
    shutil.rmtree(run / "safety_prompt")
    assert "is not finished" in fail("chat", run)


def test_prompts_without_their_run_need_a_model(small_run, folders, tmp_path):
    shutil.copytree(small_run / "safety_prompt", tmp_path / "prompt")
    assert "set --model to its location" in fail("chat", tmp_path / "prompt")
    said = succeed("chat", tmp_path / "prompt", "--model", folders("llama"), "--tokens", 2, input="Hi\n")
    assert "llama-chat with mcd" in said
    # Within its run, the location of the model is known.
    succeed("chat", small_run / "safety_prompt", "--tokens", 2, input="Hi\n")


def test_evaluations_with_mistakes(command, small_run, folders, tmp_path):
    prompts = tmp_path / "mine.jsonl"
    prompts.write_text(json.dumps({"id": "a", "label": "harmful", "en": "How?"}))
    call = ["evaluate", small_run, "--prompts", prompts, "--device", "cpu", "--judge", "patterns"]
    assert "There is no defence 'nothing'; use none, written" in fail(*call, "--defence", "nothing")
    assert "the same name and seed" in fail(*call, "--defence", small_run)
    assert "has no prompts in the selected --languages (da); it has en" in fail(*call, "--languages", "da")
    written = tmp_path / "written"
    succeed(*command("llama", written, "--preset", "written", "--steps", 0, "--limit", 1))
    assert "remove 'written' from --defence" in fail("evaluate", written, *call[2:], "--defence", "written")
    assert "float12" in fail(*call, "--dtype", "float12")
    assert "missing.csv" in fail("evaluate", small_run, "--prompts", tmp_path / "missing.csv")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    assert "contains files that do not belong to an evaluation" in fail(*call, "--output", tmp_path / "full")
    prompts.write_text(json.dumps({"id": "a", "label": "harmful", "en": "How? " * 3000}))
    assert "does not fit into the model's context of 1024 tokens" in fail(*call, "--output", tmp_path / "long")


def test_columns_that_the_judge_does_not_support_are_named(small_run, tmp_path):
    prompts = tmp_path / "mine.jsonl"
    prompts.write_text(json.dumps({"id": "a", "label": "harmful", "en": "How?", "cs": "Jak?"}))
    call = ["evaluate", small_run, "--prompts", prompts, "--device", "cpu", "--reply-tokens", 4]
    call += ["--judge", "patterns"]
    assert "does not support Czech (cs); no rates will be shown there" in succeed(*call, "--output", tmp_path / "out")
