"""Base models of other kinds under `babelguard export --to checkpoint`: in shards, with pictures, quantised, or damaged."""

from __future__ import annotations

import json
import os
import shutil
from types import SimpleNamespace

import pytest
import tiny
import torch
from calls import fail, succeed, tree, user_error
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Gemma3Config, Gemma3ForConditionalGeneration

from babelguard.export.manifest import read_manifest
from babelguard.jobs.export import export
from babelguard.models.stored import StoredWeights

IDS = torch.tensor([[5, 9, 30, 7]])


def save_prompt(base, folder, count=5):
    prompt = tiny.make_prompt(*tiny.load_family(base), count)
    prompt.save_pretrained(folder)
    return prompt


def given(tmp_path, *more):
    return ["export", tmp_path / "prompt", "--to", "checkpoint", "--output", tmp_path / "out", "--model", *more]


def logits(prompt, base, dtype=torch.float32):
    """Return the logits of the protected model for its prompt and a few tokens."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype).eval()
    protected, _ = prompt.protect(model, tiny.load_family(base)[1])
    return protected(torch.cat([torch.tensor([prompt.slot.token_ids]), IDS], dim=1)).logits


def exported_logits(prompt, folder, dtype=torch.float32):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    return model(torch.cat([torch.tensor([prompt.slot.token_ids]), IDS], dim=1)).logits


@pytest.fixture
def llama(folders, tmp_path):
    """Return a copy of the Llama family's folder; its prompt is in `tmp_path / "prompt"`."""
    base = tiny.save_family("llama", tmp_path / "base")
    save_prompt(base, tmp_path / "prompt")
    return base


@torch.no_grad()
@pytest.mark.parametrize("tied", [False, True])
def test_shards_are_copied_one_tensor_at_a_time(tmp_path, monkeypatch, tied):
    base = tiny.save_family("llama", tmp_path / "base", tie_word_embeddings=tied)
    model = tiny.load_family(base)[0]
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="60KB")
    assert len(list(base.glob("*.safetensors"))) > 3
    prompt = save_prompt(base, tmp_path / "prompt")
    read = []
    whole = StoredWeights.read
    monkeypatch.setattr(StoredWeights, "read", lambda self, name: read.append(name) or whole(self, name))
    monkeypatch.setattr("babelguard.jobs.export.check_prompt", lambda *_: None)  # it reads a sample of the tensors
    said = succeed(*given(tmp_path, base))
    # All other tensors are copied in blocks of bytes.
    assert set(read) == {"model.embed_tokens.weight"}
    assert ("its own copy takes" in said) == tied
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    stored = {file.name: load_file(file) for file in (tmp_path / "out").glob("*.safetensors")}
    assert {name: shard for shard, names in stored.items() for name in names} == index["weight_map"]
    size = sum(tensor.numel() * tensor.element_size() for names in stored.values() for tensor in names.values())
    assert size == index["metadata"]["total_size"] == read_manifest(tmp_path / "out").facts["bytes"]
    torch.testing.assert_close(exported_logits(prompt, tmp_path / "out"), logits(prompt, base), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("how", ["zeroed", "permuted", "shifted"])
def test_the_comparison_finds_damaged_rows(llama, tmp_path, how):
    prompt = save_prompt(llama, tmp_path / "prompt")
    succeed(*given(tmp_path, llama))
    expected = logits(prompt, llama)
    torch.testing.assert_close(exported_logits(prompt, tmp_path / "out"), expected, rtol=1e-5, atol=1e-5)
    path, ids = tmp_path / "out" / "model.safetensors", list(prompt.slot.token_ids)
    tensors = load_file(path)
    rows = tensors["model.embed_tokens.weight"]
    damaged = {"zeroed": torch.zeros(5, 64), "permuted": rows[ids[::-1]], "shifted": rows[[i + 1 for i in ids]]}
    rows[ids] = damaged[how]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(AssertionError):
        torch.testing.assert_close(exported_logits(prompt, tmp_path / "out"), expected, rtol=1e-5, atol=1e-5)
    assert "was changed after the export" in user_error(lambda: read_manifest(tmp_path / "out"))


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_another_dtype(tmp_path, name):
    base = tiny.save_family(name, tmp_path / "base", tie_word_embeddings=name == "gemma3")
    prompt = save_prompt(base, tmp_path / "prompt")
    succeed(*given(tmp_path, base, "--dtype", "bfloat16"))
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}
    assert read_manifest(tmp_path / "out").dtype == "bfloat16"
    found, expected = exported_logits(prompt, tmp_path / "out", "auto"), logits(prompt, base, torch.bfloat16)
    if name == "llama":
        assert torch.equal(found, expected)
    else:  # the rows are rounded, and rounded again after the scale of Gemma
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.1)


@pytest.fixture
def pictures(tmp_path):
    """Return the folder of a tiny Gemma 3 that sees pictures. Its weights have other names on disk than in memory."""
    _, tokenizer = tiny.load_family(tiny.save_family("gemma3", tmp_path / "text"))
    text = json.loads((tmp_path / "text" / "config.json").read_text())
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=text | {"tie_word_embeddings": True},
        vision_config=vision | {"image_size": 16, "patch_size": 8},
        mm_tokens_per_image=4,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "preprocessor_config.json").write_text("{}")
    return tmp_path / "base"


@torch.no_grad()
def test_a_model_that_sees_pictures(pictures, tmp_path):
    prompt = save_prompt(pictures, tmp_path / "prompt")
    succeed(*given(tmp_path, pictures))
    before, after = load_file(pictures / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    head = (after.keys() - before.keys()).pop()
    assert head.endswith("lm_head.weight") and len(after) == len(before) + 1
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert [name.rpartition("embed_tokens")[1] for name in changed] == ["embed_tokens"]
    assert torch.equal(after[head], before[changed[0]])
    torch.testing.assert_close(
        exported_logits(prompt, tmp_path / "out"), logits(prompt, pictures), rtol=1e-5, atol=1e-5
    )
    assert (tmp_path / "out" / "preprocessor_config.json").exists()


def change_config(base, **changes):
    path = base / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


GPTQ = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}}


def test_a_quantised_model_keeps_its_form(llama, tmp_path):
    change_config(llama, **GPTQ)
    succeed(*given(tmp_path, llama))
    assert json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]["quant_method"] == "gptq"


def tie(base):
    tensors = load_file(base / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    change_config(base, tie_word_embeddings=True, **GPTQ)


def pack(base):
    tensors = load_file(base / "model.safetensors")
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].to(torch.int8)
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    change_config(base, **GPTQ)


def pickle(base):
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()


def edit_template(base):
    (base / "chat_template.jinja").write_text(tiny.LLAMA.replace("system", "System") + " ")


def rename(base):
    tensors = load_file(base / "model.safetensors")
    tensors["model.words.weight"] = tensors.pop("model.embed_tokens.weight")
    save_file(tensors, base / "model.safetensors", {"format": "pt"})


def unknown_type(base):
    change_config(base, model_type="llama99", architectures=["LlamaForCausalLM"])


def truncate(base):
    path = base / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


WRONG = {
    "a tied quantised model": (tie, [], "cannot be untied; export from the model without quantisation"),
    "a quantised model in another dtype": (
        lambda base: change_config(base, **GPTQ),
        ["--dtype", "bfloat16"],
        "so its --dtype cannot be changed",
    ),
    "a quantised embedding table": (pack, [], "The embedding table of base is quantised (I8)"),
    "weights in a pickle": (pickle, [], "has no model.safetensors; load it with transformers, save it"),
    "a changed template": (edit_template, [], "does not have the chat template that this safety prompt"),
    "a renamed table": (rename, [], "is not among its stored weights"),
    "an unknown architecture": (unknown_type, [], "could not be loaded as a causal chat model"),
    "a truncated file": (truncate, [], "is damaged"),
    "an unknown dtype": (lambda base: None, ["--dtype", "int3"], "The dtype 'int3' is not known"),
    "an option of another exporter": (
        lambda base: None,
        ["--option", "bits=4"],
        "has no setting 'bits' for --option; it has: none",
    ),
    "an option without a value": (lambda base: None, ["--option", "bits"], "write it as NAME=VALUE"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_exported(llama, tmp_path, wrong):
    damage, more, said = WRONG[wrong]
    damage(llama)
    before = tree(llama)
    assert said in fail(*given(tmp_path, llama, *more))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "prompt"]
    assert tree(llama) == before


def test_a_disk_without_room(llama, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    assert "but only 1.0 MB are free on the disk; free some space" in fail(*given(tmp_path, llama))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "prompt"]


def test_the_remains_of_a_killed_export_are_removed(llama, tmp_path):
    alive = tmp_path / f"out.part-{os.getppid()}"
    for folder in (tmp_path / "out.part-999999999", alive, tmp_path / "out.part-notes"):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    export(str(tmp_path / "prompt"), "checkpoint", tmp_path / "out", model=str(llama))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "out", alive.name, "out.part-notes", "prompt"]


def damage_manifest(folder, **changes):
    path = folder / "babelguard.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGED = {
    "a missing file": (lambda out: (out / "config.json").unlink(), "is not complete: config.json is missing"),
    "a changed file": (lambda out: (out / "config.json").write_text("{}"), "was changed after the export"),
    "no manifest": (lambda out: (out / "babelguard.json").unlink(), "is not an export of babelguard"),
    "a manifest of another kind": (lambda out: damage_manifest(out, type="x"), "is damaged"),
    "a newer manifest": (lambda out: damage_manifest(out, format=99), "update babelguard"),
    "a path outside": (lambda out: damage_manifest(out, files={"../a": "", **FILE}), "is not in this folder"),
    "no prompt": (lambda out: damage_manifest(out, files={}), "it does not list the safety prompt"),
    "fewer ids": (lambda out: damage_manifest(out, token_ids=[1]), "the number of tokens and ids differ"),
}
FILE = {"safety_prompt/model.safetensors": ""}


def test_the_manifest_finds_damage(llama, tmp_path):
    export(str(tmp_path / "prompt"), "checkpoint", tmp_path / "out", model=str(llama))
    found = read_manifest(tmp_path / "out")
    assert found.files.keys() == tree(tmp_path / "out").keys() - {"babelguard.json"}
    for damage, said in DAMAGED.values():
        shutil.copytree(tmp_path / "out", tmp_path / "copy")
        damage(tmp_path / "copy")
        assert said in user_error(lambda: read_manifest(tmp_path / "copy"))
        shutil.rmtree(tmp_path / "copy")
