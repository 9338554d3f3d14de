"""Model folders with missing, foreign or damaged weights are refused, and a target that does not exist is not ignored."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from calls import fail
from safetensors.torch import load_file, save_file

from babelguard.errors import UserError
from babelguard.models.load import load_chat_model


@pytest.fixture
def damaged(folders, tmp_path):
    """A copy of a model folder whose tensors are changed by a function."""

    def make(change, family="llama"):
        folder = tmp_path / "model"
        shutil.copytree(folders(family), folder)
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make


def drop_layer(tensors):
    for name in [name for name in tensors if name.startswith("model.layers.1.")]:
        del tensors[name]


def rename(tensors):
    tensors["model.layers.0.mlp.other.weight"] = tensors.pop("model.layers.0.mlp.up_proj.weight")


def add(tensors):
    tensors["model.layers.0.mlp.other.weight"] = torch.zeros(2)


def transpose(tensors):
    tensors["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].T.contiguous()


def set_nan(tensors):
    tensors["model.layers.2.mlp.up_proj.weight"][0, 0] = float("nan")


def set_infinite(tensors):
    tensors["model.embed_tokens.weight"][3] = float("inf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("model.norm.weight"), "model.norm.weight is missing"),
        (lambda tensors: tensors.pop("lm_head.weight"), "lm_head.weight is missing"),
        (drop_layer, r"model.layers.1.\S+ \(and \d+ more\) is missing"),
        (rename, "up_proj.weight is missing"),
        (add, "other.weight does not belong"),
        (transpose, "have other shapes than its config.json says"),
        (set_nan, "up_proj.weight contains numbers that are not finite"),
        (set_infinite, "embed_tokens.weight contains numbers that are not finite"),
    ],
)
def test_incomplete_and_damaged_weights_are_refused_by_name(damaged, change, message):
    # The fixture `library_warnings` fails if transformers reports the keys, too.
    with pytest.raises(UserError, match=message):
        load_chat_model(str(damaged(change)), dtype="float32", device="cpu")


def test_buffers_of_older_versions_are_ignored(damaged):
    def add_buffer(tensors):
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)

    load_chat_model(str(damaged(add_buffer)), dtype="float32", device="cpu")


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral", "gemma3", "granite"])
def test_complete_models_load(folders, family):
    load_chat_model(str(folders(family)), dtype="float32", device="cpu")


def shift(vocabulary):
    """Move all ids beyond the embedding table."""
    return {token: number + 100_000 for token, number in vocabulary.items()}


def move_rare(vocabulary):
    """Move the id of a letter that only some questions contain."""
    return {token: 100_000 if token == "Q" else number for token, number in vocabulary.items()}


@pytest.mark.parametrize("change", [shift, move_rare])
def test_the_tokenizer_of_another_model(folders, tmp_path, change):
    folder = shutil.copytree(folders("llama"), tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"] = change(content["model"]["vocab"])
    content["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "prompts.csv").write_text("label,en\nharmful,Q ?\nharmless,How ?\n")
    given = ["--prompts", tmp_path / "prompts.csv", "--judge", "patterns", "--reply-tokens", "4", "--device", "cpu"]
    sentence = fail("evaluate", folder, *given, "--output", tmp_path / "out")
    assert re.search(
        r"tokenizer of \S+ gives the token '.+' the id 10\d{4}, but the model has only \d+ embed", sentence
    )


def test_a_target_that_does_not_exist_is_not_replaced_by_its_base_model(folders, files, tmp_path):
    given = ["--prompts", files / "corpus.csv", "--output", tmp_path / "out"]
    sentence = fail("evaluate", tmp_path / "nothing", *given, "--model", folders("llama"))
    assert "is neither a run nor a safety prompt" in sentence
    assert not (tmp_path / "out").exists()
