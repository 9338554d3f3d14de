"""The training checkpoint."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from calls import user_error

from babelguard.errors import UserError
from babelguard.files import write_json
from babelguard.files.tensors import write_tensors
from babelguard.jobs.run_folder import run_digest
from babelguard.method.checkpoint import FILE, Progress, load_checkpoint, save_checkpoint


def test_checkpoint_round_trip(tmp_path):
    assert load_checkpoint(tmp_path) is None
    tensors = {"theta": torch.randn(2, 3), "weights": torch.ones(4)[::2]}
    progress = Progress(
        step=3,
        optimised=2,
        halved=1,
        start_score=0.5,
        best_score=0.25,
        best_step=2,
        history=[{"step": 1, "total": 0.1}],
    )
    save_checkpoint(tmp_path / "deep", tensors, progress)
    again, found = load_checkpoint(tmp_path / "deep")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
    assert found == progress
    save_checkpoint(tmp_path / "deep", tensors, Progress())
    assert load_checkpoint(tmp_path / "deep")[1].best_score == float("inf")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, {"theta": torch.zeros(1)}, Progress(step=1))

    def full(handle):
        os.truncate(handle, 4)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("babelguard.files.writing.os.fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*free some space"):
        save_checkpoint(tmp_path, {"theta": torch.ones(1)}, Progress(step=2))
    monkeypatch.undo()
    tensors, progress = load_checkpoint(tmp_path)
    assert progress.step == 1
    assert torch.equal(tensors["theta"], torch.zeros(1))


@pytest.mark.parametrize("content", [b"", b"\x00" * 40])
def test_a_damaged_checkpoint_raises_one_sentence(tmp_path, content):
    save_checkpoint(tmp_path, {"theta": torch.zeros(1)}, Progress())
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"checkpoint\.safetensors"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_of_another_run_with_the_same_shapes(tmp_path):
    tensors = {"theta": torch.zeros(1)}
    save_checkpoint(tmp_path, tensors, Progress(step=1), "run a")
    for run in ("run a", None):
        found = load_checkpoint(tmp_path, tensors, run)
        assert found is not None and found[1].step == 1
    said = user_error(lambda: load_checkpoint(tmp_path, tensors, "run b"))
    assert "checkpoint.safetensors is damaged (it belongs to another run); delete it" in said


def test_a_checkpoint_that_does_not_say_which_run_it_belongs_to(tmp_path):
    write_tensors(tmp_path / FILE, {"theta": torch.zeros(1)}, {"progress": Progress(step=1).model_dump_json()})
    assert load_checkpoint(tmp_path, run="run a") is not None


def test_the_digest_of_a_run(tmp_path):
    write_json(tmp_path / "config.json", {"seed": 0, "training": {"steps": 1, "beta2": 0.9}})
    first = run_digest(tmp_path)
    write_json(tmp_path / "config.json", {"training": {"beta2": 0.9, "steps": 1}, "seed": 0})
    assert run_digest(tmp_path) == first
    write_json(tmp_path / "config.json", {"training": {"beta2": 0.9, "steps": 1}, "seed": 1})
    assert run_digest(tmp_path) != first
    (tmp_path / "config.json").unlink()
    assert "config.json cannot be read" in user_error(lambda: run_digest(tmp_path))
