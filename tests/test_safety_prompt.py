from __future__ import annotations

import copy
import json
import shutil

import pytest
import tiny
import torch

from babelguard.engine import prefix as engine
from babelguard.errors import UserError
from babelguard.models.load import fingerprint, weights_digest
from babelguard.prompt.safety_prompt import SafetyPrompt, template_digest, unprotect
from babelguard.prompt.slot import install, render, tokenise
from babelguard.jobs.open_target import base_of, read_prompt

QUESTIONS = ["How do I bake bread?", "적은 효모로 빵을 어떻게 굽나요?", "Knead"]
NEW_TOKENS = 8


def make_prompt(model, tokenizer, count=5):
    _, slot = install(tokenizer, count, model.get_input_embeddings().weight.shape[0])
    theta = torch.randn(count, 64, generator=torch.Generator().manual_seed(5))
    return SafetyPrompt(
        theta=theta,
        slot=slot,
        base_model="tiny/chat",
        base_revision="abc",
        base_fingerprint=fingerprint(model),
        base_licence="apache-2.0",
        name="mcd",
        seed=3,
        template_digest=template_digest(tokenizer),
        training={"languages": ["en", "da"], "steps": 4, "start": "Be safe."},
        results="| a table |",
    )


@pytest.fixture(params=tiny.MAIN)
def family(request, loaded):
    """Model and tokenizer of one family; the model is unprotected again afterwards."""
    model, tokenizer = loaded(request.param)
    yield model, tokenizer
    unprotect(model)


@pytest.fixture
def llama(loaded):
    model, tokenizer = loaded("llama")
    yield model, tokenizer
    unprotect(model)


@pytest.fixture
def folder(llama, tmp_path):
    """A saved prompt of the Llama family."""
    make_prompt(*llama).save_pretrained(tmp_path / "prompt")
    return tmp_path / "prompt"


def test_a_prompt_of_the_hub_is_a_target(folder, tmp_path, monkeypatch):
    # The hub client's cache, as it lies on a disk after a download.
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


def test_a_saved_prompt_gives_the_same_logits(family, tmp_path):
    model, tokenizer = family
    prompt = make_prompt(model, tokenizer)
    prompt.save_pretrained(tmp_path)
    again = SafetyPrompt.from_pretrained(tmp_path)
    assert torch.equal(again.theta, prompt.theta)
    assert {k: v for k, v in vars(again).items() if k != "theta"} == {
        k: v for k, v in vars(prompt).items() if k != "theta"
    }
    logits = []
    for one in (prompt, again):
        protected, carrier = one.protect(model, tokenizer)
        with torch.no_grad():
            logits.append(protected(torch.tensor([chat_ids(carrier, QUESTIONS[0])])).logits)
    assert torch.equal(*logits)


def chat_ids(carrier, text):
    return carrier.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
    )


def engine_replies(model, tokenizer, prompt, stop):
    defence = prompt.defence(tokenizer)
    chats = [defence.token_ids(tokenizer, text) for text in QUESTIONS]
    prefix_ids = engine.shared_prefix(chats)
    with torch.no_grad(), defence.active(model):
        prefix = engine.run_prefix(model, prefix_ids)
        suffixes = engine.split(chats, prefix_ids)
        replies = engine.generate(
            model, prefix, suffixes, max_new_tokens=NEW_TOKENS, stop_ids=stop, banned_ids=defence.banned_ids
        )
    return [reply.token_ids for reply in replies]


@pytest.mark.parametrize("side", ["left", "right"])
def test_plain_generation_is_defended_and_equals_the_measured_replies(family, side):
    model, tokenizer = family
    prompt = make_prompt(model, tokenizer)
    stop = [tokenizer.eos_token_id]
    expected = engine_replies(model, tokenizer, prompt, stop)
    undefended = [
        model.generate(**one(tokenizer, text), max_new_tokens=NEW_TOKENS, do_sample=False) for text in QUESTIONS
    ]
    protected, carrier = prompt.protect(model, tokenizer)
    for text, reply, plain in zip(QUESTIONS, expected, undefended, strict=True):
        given = one(carrier, text)
        out = protected.generate(**given, max_new_tokens=NEW_TOKENS, do_sample=False)
        assert new_tokens(out[0], given, stop) == reply
        assert new_tokens(plain[0], one(tokenizer, text), stop) != reply
    # In a batch: the next token is the same, on whichever side the padding stands.
    carrier.padding_side = side
    chats = [[{"role": "user", "content": text}] for text in QUESTIONS]
    batch = carrier.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    assert not bool(batch["attention_mask"].all())
    positions = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = protected(**batch, position_ids=positions).logits
    last = positions.argmax(-1) if side == "right" else torch.full((3,), -1)
    first = logits[torch.arange(3), last]
    for row, text in enumerate(QUESTIONS):
        with torch.no_grad():
            alone = protected(**one(carrier, text)).logits[0, -1]
        torch.testing.assert_close(first[row], alone, rtol=1e-3, atol=1e-3)
    if side == "left":
        out = protected.generate(**batch, max_new_tokens=NEW_TOKENS, do_sample=False)
        length = batch["input_ids"].shape[1]
        assert [cut(row[length:].tolist(), stop) for row in out] == expected


def one(tokenizer, text):
    ids = torch.tensor([chat_ids(tokenizer, text)])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def new_tokens(row, given, stop):
    return cut(row[given["input_ids"].shape[1] :].tolist(), stop)


def cut(ids, stop):
    return ids[: next((k for k, token in enumerate(ids) if token in stop), len(ids))]


def test_unprotect_gives_the_model_back(family):
    model, tokenizer = family
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ids = torch.tensor([chat_ids(tokenizer, QUESTIONS[0])])
    with torch.no_grad():
        plain = model(ids).logits
        for _ in range(2):  # protecting twice leaves one prompt in the model, not two
            make_prompt(model, tokenizer).protect(model, tokenizer)
        assert len(model.get_input_embeddings()._forward_hooks) == 1
        unprotect(model)
        unprotect(model)
        assert torch.equal(model(ids).logits, plain)
    assert not model.get_input_embeddings()._forward_hooks
    assert model.generation_config.suppress_tokens is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_placeholders_are_never_generated_and_own_suppressions_stay(loaded):
    model, tokenizer = copy.deepcopy(loaded("llama")[0]), loaded("llama")[1]
    model.generation_config.suppress_tokens = [7]
    prompt = make_prompt(model, tokenizer)
    prompt.protect(model, tokenizer)
    assert model.generation_config.suppress_tokens == [7, *prompt.slot.token_ids]
    unprotect(model)
    assert model.generation_config.suppress_tokens == [7]


def test_typed_placeholders_change_nothing_behind_a_protected_model(llama):
    """The protected model sees the soft prompt once, whatever the user types."""
    model, tokenizer = llama
    prompt = make_prompt(model, tokenizer)
    _, carrier = prompt.protect(model, tokenizer)
    ids = tokenise(carrier, render(carrier, [{"role": "user", "content": prompt.slot.text}]))
    assert sum(token in prompt.slot.token_ids for token in ids) == len(prompt.slot.token_ids)


def refusal(call):
    with pytest.raises(UserError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_models_that_a_prompt_was_not_trained_for_are_refused(llama, loaded):
    model, tokenizer = llama
    prompt = make_prompt(model, tokenizer)
    wide = tiny.make_model("llama", hidden_size=32)
    assert "64 wide" in refusal(lambda: prompt.protect(wide, tokenizer))
    other = tiny.make_model("llama", seed=1)
    assert "only with its own base model" in refusal(lambda: prompt.protect(other, tokenizer))
    template = copy.deepcopy(tokenizer)
    template.chat_template += " "
    assert "another chat template" in refusal(lambda: prompt.protect(model, template))
    qwen = loaded("qwen2")[1]
    own = make_prompt(*loaded("qwen2"))
    shifted = copy.deepcopy(qwen)
    shifted.add_tokens(["<|another|>"])
    assert "other ids" in refusal(lambda: own.protect(loaded("qwen2")[0], shifted))
    assert not model.get_input_embeddings()._forward_hooks


def test_a_merged_adapter_is_another_model_for_runs(llama):
    model, _ = llama
    whole, embeddings = weights_digest(model), fingerprint(model)
    layer = model.model.layers[-1].self_attn.q_proj
    kept = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight += 1e-3 * torch.randn(kept.shape, generator=torch.Generator().manual_seed(0))
    assert fingerprint(model) == embeddings
    assert weights_digest(model) != whole
    layer.weight.data.copy_(kept)
    assert weights_digest(model) == whole


def test_another_dtype_of_the_same_model_is_the_same_model(llama):
    model, tokenizer = llama
    half = copy.deepcopy(model).bfloat16()
    make_prompt(model, tokenizer).check(half, tokenizer)


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
    "a model's configuration": (lambda f: (f / "config.json").write_text('{"model_type": "llama"}'), "another kind"),
    "no width": (lambda f: edited(f, width="gone"), "damaged"),
    "no fingerprint": (lambda f: edited(f, base_fingerprint="gone"), "damaged"),
    "no training": (lambda f: edited(f, training="gone"), "damaged"),
    "other length": (lambda f: edited(f, length=4), "damaged"),
    "other slot": (lambda f: edited(f, slot={"tokens": ["<a>"]}), "damaged"),
    "later format": (lambda f: edited(f, format=99), "newer babelguard"),
    "weights are a folder": (
        lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir()),
        "damaged",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_prompts_are_refused_in_one_sentence(folder, damage):
    spoil, said = DAMAGE[damage]
    spoil(folder)
    assert said in refusal(lambda: SafetyPrompt.from_pretrained(folder))


def test_numbers_that_are_not_finite_are_refused(llama, tmp_path):
    prompt = make_prompt(*llama)
    prompt.theta[2, 5] = float("nan")
    prompt.save_pretrained(tmp_path)
    assert "not finite" in refusal(lambda: SafetyPrompt.from_pretrained(tmp_path))


def test_folders_that_are_no_prompt_are_refused(tmp_path, folders):
    assert "config.json is missing" in refusal(lambda: SafetyPrompt.from_pretrained(tmp_path))
    assert "another kind" in refusal(lambda: SafetyPrompt.from_pretrained(folders("llama")))
    assert "does not exist" in refusal(lambda: SafetyPrompt.from_pretrained(tmp_path / "missing"))
    assert "neither a folder here" in refusal(lambda: SafetyPrompt.from_pretrained("nobody/nothing"))


def test_a_folder_that_cannot_be_written_is_one_sentence(llama, tmp_path):
    (tmp_path / "file").write_text("")
    assert "could not be written" in refusal(lambda: make_prompt(*llama).save_pretrained(tmp_path / "file" / "prompt"))


def test_the_card_names_what_a_reader_needs_and_no_path(folder):
    card = (folder / "README.md").read_text()
    for text in ("base_model: tiny/chat", "license: apache-2.0", '- "da"', "| a table |", "seed 3", "steps: 4"):
        assert text in card
    assert str(folder.parent) not in "".join(
        path.read_text() for path in folder.glob("*.[jm]*") if path.suffix != ".safetensors"
    )
