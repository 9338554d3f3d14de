"""One changed bit anywhere in a file of tensors is found."""

from __future__ import annotations

import json
import struct

import pytest
import tiny
import torch
from calls import user_error
from safetensors.torch import load_file, save_file

from babelguard.errors import UserError
from babelguard.files import FileFault
from babelguard.files.tensors import METADATA, checksum, read_tensors, write_tensors
from babelguard.method.checkpoint import Progress, load_checkpoint, save_checkpoint
from babelguard.method.space import SafetySpace
from babelguard.prompt import SafetyPrompt

THETA = torch.arange(6.0).reshape(2, 3)


def accepted_bits(path, read):
    """Flip bits of a file, one at a time. Returns those that the reader does not refuse.

    Every 13th bit is flipped, which takes a second or two. All of them were, when this test was written.
    """
    data = path.read_bytes()
    accepted = []
    for place in range(0, 8 * len(data), 13):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            read()
        except UserError:
            continue
        accepted.append(place)
    path.write_bytes(data)
    read()
    return accepted


def test_every_bit_of_a_checkpoint(tmp_path):
    progress = Progress(step=3, best_score=0.5, history=[{"step": 1, "total": 0.25}])
    save_checkpoint(tmp_path, {"theta": THETA, "weights": torch.ones(2)}, progress)
    assert not accepted_bits(tmp_path / "checkpoint.safetensors", lambda: load_checkpoint(tmp_path))


def test_every_bit_of_a_safety_space(tmp_path):
    path = tmp_path / "space.safetensors"
    SafetySpace(*[torch.ones(2)] * 6, explained=0.5).save(path)
    assert not accepted_bits(path, lambda: SafetySpace.load(path))


@pytest.fixture
def prompt(loaded, tmp_path):
    """A saved prompt."""
    tiny.make_prompt(*loaded("llama"), count=2).save_pretrained(tmp_path / "prompt")
    return tmp_path / "prompt"


def test_every_bit_of_a_prompt(prompt):
    assert not accepted_bits(prompt / "model.safetensors", lambda: SafetyPrompt.from_pretrained(prompt))


def test_a_prompt_needs_its_checksum(prompt):
    save_file({"theta": load_file(prompt / "model.safetensors")["theta"]}, prompt / "model.safetensors")
    assert "it has no checksum" in user_error(lambda: SafetyPrompt.from_pretrained(prompt))


def test_a_checkpoint_without_a_checksum_or_of_another_run(tmp_path):
    save_checkpoint(tmp_path, {"theta": THETA}, Progress())
    assert load_checkpoint(tmp_path, {"theta": THETA}) is not None
    for like in ({"theta": THETA.T}, {"theta": THETA, "best": THETA}, {"best": THETA}):
        assert "it belongs to another run" in user_error(lambda like=like: load_checkpoint(tmp_path, like))
    save_file({"theta": THETA}, tmp_path / "checkpoint.safetensors", metadata={"progress": "{}"})
    assert "it has no checksum" in user_error(lambda: load_checkpoint(tmp_path))


@pytest.mark.parametrize(
    "progress",
    ["", "[]", '{"step": true}', '{"step": 1.5}', '{"more": 1}', '{"history": [{"total": "a"}]}', "[" * 30_000],
)
def test_odd_progress(tmp_path, progress):
    write_tensors(tmp_path / "checkpoint.safetensors", {"theta": THETA}, {"progress": progress})
    assert "checkpoint.safetensors is damaged" in user_error(lambda: load_checkpoint(tmp_path))


def test_infinite_scores_are_kept(tmp_path):
    save_checkpoint(tmp_path, {"theta": THETA}, Progress())
    assert load_checkpoint(tmp_path)[1] == Progress()


def test_the_checksum_depends_on_everything_but_the_order():
    base = checksum({"a": THETA, "b": THETA}, {"x": "1", "y": "2"})
    assert base == checksum({"b": THETA, "a": THETA}, {"y": "2", "x": "1"})
    others = [
        checksum({"a": THETA, "c": THETA}, {"x": "1", "y": "2"}),
        checksum({"a": THETA, "b": THETA.T.contiguous()}, {"x": "1", "y": "2"}),
        checksum({"a": THETA, "b": THETA.view(torch.int32)}, {"x": "1", "y": "2"}),
        checksum({"a": THETA, "b": THETA}, {"x": "1", "y": "3"}),
        checksum({"a": THETA, "b": THETA}, {}),
    ]
    assert len({base, *others}) == 6


def test_the_same_tensors_give_the_same_bytes(tmp_path):
    for name in ("a", "b", "c"):
        write_tensors(tmp_path / name, {"theta": THETA, "scalar": torch.tensor(1)}, {"x": "1", "y": "2", "z": "3"})
    assert len({(tmp_path / name).read_bytes() for name in ("a", "b", "c")}) == 1
    assert read_tensors(tmp_path / "a")[1] == {"x": "1", "y": "2", "z": "3"}


def header(content):
    text = json.dumps(content).encode() if not isinstance(content, bytes) else content
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"\xff" * 100,
        header(b"[" * 30_000),
        header({"theta": {"dtype": "F8_E4M3", "shape": [2**40, 2**40], "data_offsets": [0, 0]}}),
        header({"theta": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
        header({"__metadata__": {METADATA: "{}"}}),
        header({"__metadata__": {METADATA: 5}}),
    ],
)
def test_files_that_are_not_tensors(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(FileFault):
        read_tensors(tmp_path / "a.safetensors")
