"""The files of a safety prompt: what is written, and which damaged or foreign folders are refused."""

from __future__ import annotations

import json
import shutil

import pytest
import tiny
import torch
from calls import user_error

from babelguard.files.tensors import write_tensors
from babelguard.jobs.open_target import base_of, read_prompt
from babelguard.prompt import SafetyPrompt


@pytest.fixture
def llama(loaded):
    return loaded("llama")


@pytest.fixture
def folder(llama, tmp_path):
    """A saved prompt of the Llama family."""
    tiny.make_prompt(*llama).save_pretrained(tmp_path / "prompt")
    return tmp_path / "prompt"


def test_a_prompt_on_the_hub_is_a_target(folder, tmp_path, monkeypatch):
    # The cache of the hub client after a download.
    cache = tmp_path / "hub"
    kept = cache / "models--someone--prompt"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc123")
    shutil.copytree(folder, kept / "snapshots" / "abc123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = read_prompt("someone/prompt")
    assert found is not None
    assert torch.equal(found[0].theta, SafetyPrompt.from_pretrained(folder).theta)
    assert base_of(*found) == "tiny/chat"
    assert read_prompt("someone/else") is None
    (kept / "snapshots" / "abc123" / "config.json").write_text('{"model_type": "llama"}')
    assert read_prompt("someone/prompt") is None


def edited(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v != "gone"}))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


DAMAGE = {
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "cut weights": (lambda f: truncate(f / "model.safetensors"), "damaged"),
    "cut configuration": (lambda f: truncate(f / "config.json"), "damaged"),
    "binary configuration": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "damaged"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "damaged"),
    "a model's configuration": (lambda f: (f / "config.json").write_text('{"model_type": "llama"}'), "unknown kind"),
    "no width": (lambda f: edited(f, width="gone"), "damaged"),
    "no sketch": (lambda f: edited(f, base_sketch="gone"), "damaged"),
    "an empty sketch": (lambda f: edited(f, base_sketch={}), "the sketch of the base model is incomplete"),
    "a sketch without numbers": (lambda f: edited(f, base_sketch={"embedding": "3x4 1"}), "incomplete"),
    "a sketch of words": (lambda f: edited(f, base_sketch={"embedding": "3x4 many"}), "could not convert"),
    "a sketch with a negative scale": (lambda f: edited(f, base_sketch={"embedding": "3x4 -1 2"}), "incomplete"),
    "a sketch without a shape": (lambda f: edited(f, base_sketch={"embedding": ""}), "damaged"),
    "a sketch that is not finite": (lambda f: edited(f, base_sketch={"embedding": "3x4 1 nan"}), "incomplete"),
    "an earlier format": (lambda f: edited(f, format=1), "written by an older version of babelguard (format 1)"),
    "no training": (lambda f: edited(f, training="gone"), "damaged"),
    "other length": (lambda f: edited(f, length=4), "damaged"),
    "other slot": (lambda f: edited(f, slot={"tokens": ["<a>"]}), "damaged"),
    "later format": (lambda f: edited(f, format=99), "written by a newer version of babelguard (format 99)"),
    "weights are a folder": (
        lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir()),
        "damaged",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_prompts_are_rejected(folder, damage):
    spoil, said = DAMAGE[damage]
    spoil(folder)
    assert said in user_error(lambda: SafetyPrompt.from_pretrained(folder))


def test_numbers_that_are_not_finite_are_rejected(llama, tmp_path):
    prompt = tiny.make_prompt(*llama)
    prompt.theta[2, 5] = float("nan")
    prompt.save_pretrained(tmp_path)
    assert "not finite" in user_error(lambda: SafetyPrompt.from_pretrained(tmp_path))


def test_folders_without_a_prompt_are_rejected(tmp_path, folders):
    assert "config.json is missing" in user_error(lambda: SafetyPrompt.from_pretrained(tmp_path))
    assert "unknown kind" in user_error(lambda: SafetyPrompt.from_pretrained(folders("llama")))
    assert "does not exist" in user_error(lambda: SafetyPrompt.from_pretrained(tmp_path / "missing"))
    assert "neither a local folder" in user_error(lambda: SafetyPrompt.from_pretrained("nobody/nothing"))


def test_a_folder_that_cannot_be_written(llama, tmp_path):
    (tmp_path / "file").write_text("")
    assert "could not be written" in user_error(
        lambda: tiny.make_prompt(*llama).save_pretrained(tmp_path / "file" / "prompt")
    )


def test_the_card_has_the_facts_and_no_local_path(folder):
    card = (folder / "README.md").read_text()
    for text in ("base_model: tiny/chat", "license: apache-2.0", '- "da"', "| a table |", "seed 3", "steps: 4"):
        assert text in card
    assert str(folder.parent) not in "".join(
        path.read_text() for path in folder.glob("*.[jm]*") if path.suffix != ".safetensors"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("placement", "user"),
        ("placement", "folded"),
        ("source", "appended"),
        ("default_system", "You are a pirate."),
        ("shapes", {"one question": "defended"}),
    ],
)
def test_vectors_only_stand_in_the_slot_that_they_were_trained_in(folder, name, value):
    config = json.loads((folder / "config.json").read_text())
    assert config["slot"][name] != value
    edited(folder, slot=config["slot"] | {name: value})
    said = user_error(lambda: SafetyPrompt.from_pretrained(folder))
    assert "config.json: its section slot is not the one that the vectors were trained with" in said
    # The same section in another order of its fields.
    edited(folder, slot=dict(reversed(config["slot"].items())))
    assert SafetyPrompt.from_pretrained(folder).slot.placement == config["slot"]["placement"]


def test_a_prompt_needs_the_digest_of_its_slot(folder):
    theta = SafetyPrompt.from_pretrained(folder).theta
    write_tensors(folder / "model.safetensors", {"theta": theta})
    assert "its section slot is not the one" in user_error(lambda: SafetyPrompt.from_pretrained(folder))
