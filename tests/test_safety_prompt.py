"""A safety prompt in a model: the same replies as measured, and no trace after `unprotect`."""

from __future__ import annotations

import copy
import json
import pickle
import warnings

import pytest
import tiny
import torch
from calls import user_error
from transformers import AutoTokenizer

from babelguard import engine
from babelguard.defences import SoftDefence
from babelguard.errors import UserError
from babelguard.models.digests import weights_digest
from babelguard.prompt import SafetyPrompt, unprotect
from babelguard.prompt.slot import render, tokenise

QUESTIONS = ["How do I bake bread?", "적은 효모로 빵을 어떻게 굽나요?", "Knead"]
NEW_TOKENS = 8


@pytest.fixture(params=tiny.MAIN)
def family(request, loaded):
    """Return model and tokenizer of a family, and remove the prompt afterwards."""
    model, tokenizer = loaded(request.param)
    yield model, tokenizer
    unprotect(model)


@pytest.fixture
def llama(loaded):
    model, tokenizer = loaded("llama")
    yield model, tokenizer
    unprotect(model)


def test_a_saved_prompt_gives_the_same_logits(family, tmp_path):
    model, tokenizer = family
    prompt = tiny.make_prompt(model, tokenizer)
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
    defence = SoftDefence.from_prompt(prompt, tokenizer)
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
    prompt = tiny.make_prompt(model, tokenizer)
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
    # In a batch, the next token is the same for padding on either side.
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


def test_unprotect_restores_the_model(family):
    model, tokenizer = family
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ids = torch.tensor([chat_ids(tokenizer, QUESTIONS[0])])
    with torch.no_grad():
        plain = model(ids).logits
        for _ in range(2):  # protecting twice inserts one prompt
            tiny.make_prompt(model, tokenizer).protect(model, tokenizer)
        assert len(model.get_input_embeddings()._forward_hooks) == 1
        unprotect(model)
        unprotect(model)
        assert torch.equal(model(ids).logits, plain)
    assert not model.get_input_embeddings()._forward_hooks
    assert model.generation_config.suppress_tokens is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_placeholders_are_suppressed_and_other_suppressions_are_kept(loaded):
    model, tokenizer = copy.deepcopy(loaded("llama")[0]), loaded("llama")[1]
    model.generation_config.suppress_tokens = [7]
    prompt = tiny.make_prompt(model, tokenizer)
    prompt.protect(model, tokenizer)
    assert model.generation_config.suppress_tokens == [7, *prompt.slot.token_ids]
    unprotect(model)
    assert model.generation_config.suppress_tokens == [7]


def test_typed_placeholders_do_not_reach_the_soft_prompt(llama):
    """The protected model receives the soft prompt once, whatever the user types."""
    model, tokenizer = llama
    prompt = tiny.make_prompt(model, tokenizer)
    _, carrier = prompt.protect(model, tokenizer)
    ids = tokenise(carrier, render(carrier, [{"role": "user", "content": prompt.slot.text}]))
    assert sum(token in prompt.slot.token_ids for token in ids) == len(prompt.slot.token_ids)


def test_other_models_and_tokenizers_are_rejected(llama, loaded):
    model, tokenizer = llama
    prompt = tiny.make_prompt(model, tokenizer)
    wide = tiny.make_model("llama", hidden_size=32)
    assert "has width 64; the given model has width 32" in user_error(lambda: prompt.protect(wide, tokenizer))
    other = tiny.make_model("llama", seed=1)
    assert "only works with its own base model" in user_error(lambda: prompt.protect(other, tokenizer))
    template = copy.deepcopy(tokenizer)
    template.chat_template += " "
    assert "does not have the chat template" in user_error(lambda: prompt.protect(model, template))
    qwen = loaded("qwen2")[1]
    own = tiny.make_prompt(*loaded("qwen2"))
    shifted = copy.deepcopy(qwen)
    shifted.add_tokens(["<|another|>"])
    assert "does not have the ids" in user_error(lambda: own.protect(loaded("qwen2")[0], shifted))
    assert not model.get_input_embeddings()._forward_hooks


def test_a_processor_and_a_defended_tokenizer_are_rejected(llama):
    model, tokenizer = llama
    prompt = tiny.make_prompt(model, tokenizer)

    class Processor:
        chat_template = tokenizer.chat_template

    with pytest.raises(UserError, match=r"A Processor is not a tokenizer; .* processor\.tokenizer\."):
        prompt.protect(model, Processor())
    with pytest.raises(UserError, match="already has a safety prompt"):
        prompt.protect(model, prompt.carrier(tokenizer))


def test_a_merged_adapter_changes_the_weights_digest(llama):
    model, _ = llama
    whole = weights_digest(model)
    layer = model.model.layers[-1].self_attn.q_proj
    kept = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight += 1e-3 * torch.randn(kept.shape, generator=torch.Generator().manual_seed(0))
    assert weights_digest(model) != whole
    layer.weight.data.copy_(kept)
    assert weights_digest(model) == whole


SAVED = {
    "llama": ("llama", {}, 5),
    "qwen3, tied": ("qwen3", {}, 5),
    "gemma3, tied": ("gemma3", {"tie_word_embeddings": True}, 5),
    "gemma3, tied, with appended ids": ("gemma3", {"tie_word_embeddings": True}, 45),
    "granite, tied": ("granite", {"tie_word_embeddings": True}, 5),
}


@torch.no_grad()
@pytest.mark.parametrize("name", SAVED)
def test_a_protected_model_is_saved_with_its_prompt(tmp_path, name):
    family, changes, count = SAVED[name]
    model, tokenizer = tiny.load_family(tiny.save_family(family, tmp_path / "base", **changes))
    prompt = tiny.make_prompt(model, tokenizer, count)
    weights, settings = weights_digest(model), model.config.to_dict()
    protected, carrier = prompt.protect(model, tokenizer)
    protected.save_pretrained(tmp_path / "saved")
    carrier.save_pretrained(tmp_path / "saved")  # once more changes nothing
    again, plain = tiny.load_family(tmp_path / "saved")
    rows = model.get_output_embeddings().weight.shape[0]
    for text in QUESTIONS:
        ids = one(carrier, text)
        assert torch.equal(ids["input_ids"], one(plain, text)["input_ids"])
        # The model in memory is still the protected one.
        expected = protected(**ids).logits
        torch.testing.assert_close(again(**ids).logits[..., :rows], expected, rtol=1e-5, atol=1e-5)
        given = {"max_new_tokens": 4, "do_sample": False}
        assert torch.equal(again.generate(**ids, **given), protected.generate(**ids, **given))
    unprotect(protected)
    assert (weights_digest(model), model.config.to_dict()) == (weights, settings)


def test_a_protected_model_is_not_saved_without_its_prompt(folders, tmp_path):
    model, tokenizer = tiny.load_family(folders("llama"))
    prompt = tiny.make_prompt(model, tokenizer)
    protected, _ = prompt.protect(model, tokenizer)
    protected, carrier = prompt.protect(protected, tokenizer)  # protecting again does not hide the original method
    for given in ({"state_dict": model.state_dict()}, {"push_to_hub": True}):
        assert "its safety prompt would be missing" in user_error(
            lambda given=given: protected.save_pretrained(tmp_path / "saved", **given)
        )
    # The placeholders of the tokenizer would be untrained tokens of the base model.
    for other in (carrier, copy.deepcopy(carrier)):
        assert "save the protected model" in user_error(lambda other=other: other.save_pretrained(tmp_path / "saved"))
    assert not (tmp_path / "saved").exists()
    prompt.carrier(tokenizer).save_pretrained(tmp_path / "carrier")
    unprotect(protected)
    protected.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "config.json").exists()
    assert "save the protected model" in user_error(lambda: carrier.save_pretrained(tmp_path / "saved"))
    unprotect(protected)  # once more does nothing


def test_a_protected_model_says_if_a_chat_is_undefended(llama):
    model, tokenizer = llama
    prompt = tiny.make_prompt(model, tokenizer)
    bare = one(tokenizer, QUESTIONS[0])
    for strict in (False, True):
        protected, carrier = prompt.protect(model, tokenizer, strict=strict)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            protected.generate(**one(carrier, QUESTIONS[0]), max_new_tokens=2, do_sample=False)
        expected = pytest.raises(UserError, match="undefended") if strict else pytest.warns(match="undefended")
        with expected:
            protected.generate(**bare, max_new_tokens=2, do_sample=False)
    unprotect(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.generate(**bare, max_new_tokens=2, do_sample=False)


def test_a_carrier_survives_copying_and_pickling(loaded, tmp_path):
    model, tokenizer = loaded("qwen3")
    prompt = tiny.make_prompt(model, tokenizer)
    carrier = prompt.carrier(tokenizer)
    chat = [{"role": "user", "content": prompt.slot.text}]
    expected = carrier.apply_chat_template(chat)["input_ids"]
    for other in (copy.deepcopy(carrier), copy.copy(carrier), pickle.loads(pickle.dumps(carrier))):
        assert other.apply_chat_template(chat)["input_ids"] == expected
        assert type(other).__name__ == type(tokenizer).__name__
        with pytest.raises(UserError, match="exactly once"):
            other.apply_chat_template(chat, chat_template=tokenizer.chat_template)
    # The template is checked without the class, too: a saved carrier is an ordinary tokenizer.
    carrier.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again).__name__ == type(tokenizer).__name__
    assert again.apply_chat_template(chat)["input_ids"] == expected


def test_the_kinds_of_chats_are_kept_with_the_prompt(llama, tmp_path):
    prompt = tiny.make_prompt(*llama)
    assert ("one question", "defended") in prompt.slot.shapes
    prompt.save_pretrained(tmp_path)
    assert SafetyPrompt.from_pretrained(tmp_path).slot.shapes == prompt.slot.shapes
    assert "16 of 16 kinds of chats are defended" in (tmp_path / "README.md").read_text()
    config = json.loads((tmp_path / "config.json").read_text())
    config["slot"]["shapes"] = {"one question": "perhaps"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "damaged" in user_error(lambda: SafetyPrompt.from_pretrained(tmp_path))
