"""`babelguard export --to checkpoint`: the exported folder gives the logits of the protected model in plain transformers."""

from __future__ import annotations

import errno
import json
from dataclasses import replace

import pytest
import tiny
import torch
from calls import fail, succeed, tree, user_error
from transformers import AutoModelForCausalLM, AutoTokenizer

from babelguard.export.manifest import read_manifest
from babelguard.jobs.export import export
from babelguard.models.probes import highest_probability

QUESTIONS = ["How do I bake bread?", "적은 효모로 빵을 어떻게 굽나요?", "Knead"]
# Family, changes of the configuration, number of soft tokens, and the source of their ids.
MODELS = {
    "llama": ("llama", {}, 5, "reserved"),
    "qwen2": ("qwen2", {}, 5, "spare"),
    "qwen2 with appended ids": ("qwen2", {}, 50, "appended"),
    "qwen3, tied": ("qwen3", {}, 5, "appended"),
    "mistral": ("mistral", {}, 5, "appended"),
    "gemma3": ("gemma3", {}, 5, "reserved"),
    "gemma3, tied": ("gemma3", {"tie_word_embeddings": True}, 5, "reserved"),
    "gemma3, tied, with appended ids": ("gemma3", {"tie_word_embeddings": True}, 45, "appended"),
    "granite": ("granite", {}, 5, "spare"),
    "granite, tied, with appended ids": ("granite", {"tie_word_embeddings": True}, 50, "appended"),
}


@pytest.fixture(scope="module", params=MODELS)
def exported(request, tmp_path_factory):
    """Return the base folder, the prompt and the exported folder of a model."""
    name, changes, count, source = MODELS[request.param]
    root = tmp_path_factory.mktemp("export")
    base = tiny.save_family(name, root / "base", **changes)
    prompt = tiny.make_prompt(*tiny.load_family(base), count)
    assert prompt.slot.source == source
    prompt.save_pretrained(root / "prompt")
    before = tree(base)
    said = succeed(
        "export", root / "prompt", "--to", "checkpoint", "--output", root / "out", "--model", base, "--dtype", "float32"
    )
    assert f"Written to {root / 'out'}" in said
    assert tree(base) == before
    assert sorted(path.name for path in root.iterdir()) == ["base", "out", "prompt"]
    written = tree(root / "out")
    assert not [path for path, content in written.items() if str(root).encode() in content]
    return base, prompt, root / "out"


def chat(tokenizer, text):
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
    )
    return torch.tensor([ids])


@torch.no_grad()
def test_the_logits_are_those_of_the_protected_model(exported):
    base, prompt, folder = exported
    protected, carrier = prompt.protect(*tiny.load_family(base))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = protected.get_output_embeddings().weight.shape[0]
    for text in QUESTIONS:
        ids = chat(tokenizer, text)
        assert torch.equal(ids, chat(carrier, text))
        logits = model(ids).logits[..., :rows]
        torch.testing.assert_close(logits, protected(ids).logits, rtol=1e-5, atol=1e-5)
        given = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 8, "do_sample": False}
        assert torch.equal(model.generate(ids, **given), protected.generate(ids, **given))


def test_the_output_rows_are_those_of_the_base_model(exported):
    base, prompt, folder = exported
    head = tiny.load_family(base)[0].get_output_embeddings().weight
    model, tokenizer = tiny.load_family(folder)
    found, table = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    assert torch.equal(found[: len(head)], head)
    # Both tables cover the appended placeholders, and nothing depends on random numbers.
    assert len(found) == len(table) == max(len(head), *(i + 1 for i in prompt.slot.token_ids))
    # The new output rows are those of a token that is never generated, so their logits are as low as its logit.
    unused = read_manifest(folder).facts["unused_token"]
    row = head[tiny.load_family(base)[1].convert_tokens_to_ids(unused)] if unused else head[-1]
    assert torch.equal(found[len(head) :], row.expand(len(found) - len(head), -1))
    assert bool(row.any())
    assert len(tokenizer) <= len(table) == model.config.vocab_size


def test_all_other_weights_are_those_of_the_base_model(exported):
    base, prompt, folder = exported
    before, after = (tiny.load_family(one)[0].state_dict() for one in (base, folder))
    embeddings = tiny.load_family(base)[0].get_input_embeddings().weight
    kept = [k for k in range(len(embeddings)) if k not in prompt.slot.token_ids]
    assert before.keys() == after.keys()
    for name, weight in before.items():
        if weight.shape[0] == len(embeddings):
            assert torch.equal(after[name][kept], weight[kept]), name
        else:
            assert torch.equal(after[name], weight), name


@torch.no_grad()
def test_placeholders_are_never_generated(exported):
    _, prompt, folder = exported
    model, tokenizer = tiny.load_family(folder)
    ids, soft = chat(tokenizer, QUESTIONS[0]), list(prompt.slot.token_ids)
    assert model.generation_config.suppress_tokens == sorted(soft)
    # Their logits become the highest ones, and they are still not generated.
    head = model.get_output_embeddings().weight
    head[soft] = 10 * head[model(ids).logits[0, -1].argmax()]
    assert int(model(ids).logits[0, -1].argmax()) in soft
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
    assert not set(out[0, ids.shape[1] :].tolist()) & set(soft)


@torch.no_grad()
def test_the_probability_that_the_head_gives_to_placeholders(exported):
    _, prompt, folder = exported
    model, tokenizer = tiny.load_family(folder)
    ids, soft = chat(tokenizer, QUESTIONS[0])[0].tolist(), list(prompt.slot.token_ids)
    found = highest_probability(model, [ids], soft)
    assert found == pytest.approx(float(model(torch.tensor([ids])).logits[0].softmax(-1)[:, soft].max()), rel=1e-4)
    head = model.get_output_embeddings().weight
    head[soft[0]] = 5 * head[model(torch.tensor([ids])).logits[0, -1].argmax()]
    assert highest_probability(model, [ids], soft) > found
    assert highest_probability(model, [ids], [10**6]) == 0.0


LICENCES = {
    "llama3.1": ("Llama-chat", "**Built with Llama**", "Llama 3.1 is licensed under the Llama 3.1 Community License"),
    "llama2": ("llama-chat", "LLAMA 2 Community License", "Llama 2 is licensed under the LLAMA 2 Community License"),
    "gemma": ("llama-chat", "must pass on its use restrictions", "Gemma Terms of Use"),
    "apache-2.0": ("llama-chat", "say that the model was modified", None),
    "other": ("llama-chat", "The licence of the base model (other) also applies", None),
}


@pytest.mark.parametrize("licence", LICENCES)
def test_what_licences_require(loaded, folders, tmp_path, licence):
    replace(tiny.make_prompt(*loaded("llama")), base_licence=licence).save_pretrained(tmp_path / "prompt")
    export(str(tmp_path / "prompt"), "lora", tmp_path / "out", model=str(folders("llama")))
    name, sentence, notice = LICENCES[licence]
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"# {name} with a safety prompt".lower() in card.lower() and sentence in card
    assert f"license: {licence}\n" in card
    found = tmp_path / "out" / "NOTICE"
    assert (notice in found.read_text()) if notice else not found.exists()


def test_typed_placeholders_do_not_reach_the_soft_prompt(exported):
    _, prompt, folder = exported
    ids = chat(AutoTokenizer.from_pretrained(folder), f"a {prompt.slot.text} b {prompt.slot.tokens[0]}")[0].tolist()
    assert [i for i in ids if i in prompt.slot.token_ids] == list(prompt.slot.token_ids)


@pytest.fixture
def saved(loaded, tmp_path):
    """Return the folder of a prompt for the Llama family."""
    tiny.make_prompt(*loaded("llama")).save_pretrained(tmp_path / "prompt")
    return tmp_path / "prompt"


def test_licences_and_notices_accompany_the_weights(saved, tmp_path):
    base = tiny.save_family("llama", tmp_path / "base")
    for name in ("NOTICE", "LICENSE.txt", "GEMMA_TERMS.md", "README.md"):
        (base / name).write_text(f"the {name} of the base model")
    export(str(saved), "checkpoint", tmp_path / "out", model=str(base))
    for name in ("NOTICE", "LICENSE.txt", "GEMMA_TERMS.md"):
        assert (tmp_path / "out" / name).read_text() == f"the {name} of the base model"
    # The base model's card does not describe the defended model.
    assert "the README.md" not in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.usefixtures("judge_of_bytes")
def test_a_run_is_exported_with_the_model_it_remembers(finished, tmp_path):
    run, _ = finished("llama")
    succeed("export", run, "--to", "checkpoint", "--output", tmp_path / "deep" / "out", "--dtype", "float32")
    config = (tmp_path / "deep" / "out" / "config.json").read_text()
    assert AutoTokenizer.from_pretrained(tmp_path / "deep" / "out").chat_template
    assert json.loads(config)["dtype"] == "float32"
    assert str(run.parent) not in config


def test_an_existing_output_folder_is_rejected(saved, folders, tmp_path):
    (tmp_path / "out").mkdir()
    sentence = fail("export", saved, "--to", "checkpoint", "--output", tmp_path / "out", "--model", folders("llama"))
    assert "already exists; choose another --output or delete it" in sentence
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("place", ["babelguard.files.tensor_stream.os.fsync", "babelguard.jobs.export.write_manifest"])
def test_an_interrupted_export_leaves_nothing_behind(saved, folders, tmp_path, monkeypatch, error, place):
    def stop(*_):
        assert list(tmp_path.rglob("model.safetensors"))
        raise error

    monkeypatch.setattr(place, stop)
    given = ["export", saved, "--to", "checkpoint", "--output", tmp_path / "out", "--model", folders("llama")]
    if isinstance(error, KeyboardInterrupt):
        assert "Stopped" in fail(*given, code=130)
    else:
        assert "No space left" in fail(*given)
    assert [path.name for path in tmp_path.iterdir()] == ["prompt"]


def test_exports_with_mistakes(saved, folders, tmp_path):
    given = {"model": str(folders("llama"))}
    out = tmp_path / "out"
    assert "no exporter named 'x'; available: checkpoint" in user_error(lambda: export(str(saved), "x", out, **given))
    assert "neither a run nor a safety prompt" in user_error(lambda: export(str(folders("llama")), "checkpoint", out))
    assert "only works with its own base model" in user_error(
        lambda: export(str(saved), "checkpoint", out, model=str(folders("mistral")))
    )
    (tmp_path / "file").write_text("")
    sentence = user_error(lambda: export(str(saved), "checkpoint", tmp_path / "file" / "out", **given))
    assert "choose another `output`" in sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "prompt"]


def test_a_generation_configuration_that_transformers_does_not_save(saved, tmp_path, library_warnings):
    """Some models on the hub have sampling parameters without sampling. They can be loaded, but not saved."""
    base = tiny.save_family("llama", tmp_path / "base")
    path = base / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_sample": False, "temperature": 0.6}))
    export(str(saved), "checkpoint", tmp_path / "out", model=str(base))
    library_warnings.clear()  # from loading the base model
    written = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert not written.get("do_sample")
    assert "suppress_tokens" in written
