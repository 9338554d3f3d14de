from __future__ import annotations

import copy
import warnings
from inspect import signature

import pytest
import tiny
import torch
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from babelguard.errors import UserError
from babelguard.models.probes import backbone, embed, embedding_rms, logit_scale, outer_embedding_scale
from babelguard.prompt.hook import SoftPromptHook, soft_prompt

TEXT_IDS = [11, 30, 7, 52, 90, 3]


def placeholders(model, count=3):
    """Return ids beyond the embedding table, as from a tokenizer without reserved tokens."""
    rows = model.get_input_embeddings().weight.shape[0]
    return tuple(range(rows + 5, rows + 5 + count))


def reference_logits(model, theta, before, after):
    """Run the same sequence through `inputs_embeds`. Theta is in the scale of the first block's input."""
    embedding = model.get_input_embeddings()
    scale = outer_embedding_scale(model)
    rows = [embedding(torch.tensor([before]))[0], theta / scale, embedding(torch.tensor([after]))[0]]
    return model(inputs_embeds=torch.cat(rows).unsqueeze(0)).logits


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_spliced_rows_equal_inputs_embeds_even_beyond_the_table(loaded, name):
    model, _ = loaded(name)
    theta = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    ids = placeholders(model)
    with torch.no_grad(), soft_prompt(model, theta, ids):
        logits = model(torch.tensor([[*TEXT_IDS[:2], *ids, *TEXT_IDS[2:]]])).logits
    with torch.no_grad():
        expected = reference_logits(model, theta, TEXT_IDS[:2], TEXT_IDS[2:])
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    # Other vectors give other logits.
    with torch.no_grad(), soft_prompt(model, -theta, ids):
        other = model(torch.tensor([[*TEXT_IDS[:2], *ids, *TEXT_IDS[2:]]])).logits
    assert (other - expected).abs().max() > 0.01


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_written_text_as_vectors_gives_the_logits_of_the_text(loaded, name):
    """`embed` and the hook use the same scale: embeddings of real tokens have the effect of these tokens."""
    model, _ = loaded(name)
    text, ids = [40, 41, 42], placeholders(model)
    with torch.no_grad(), soft_prompt(model, embed(model, text), ids):
        logits = model(torch.tensor([[5, *ids, *TEXT_IDS]])).logits
    with torch.no_grad():
        expected = model(torch.tensor([[5, *text, *TEXT_IDS]])).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_scales_inside_and_outside_the_embedding_module(loaded):
    gemma, granite, llama = (loaded(name)[0] for name in ("gemma3", "granite", "llama"))
    assert outer_embedding_scale(granite) == pytest.approx(12.0)
    assert outer_embedding_scale(gemma) == outer_embedding_scale(llama) == 1.0
    assert logit_scale(granite) == pytest.approx(1 / 4)
    assert logit_scale(gemma) == logit_scale(llama) == 1.0
    for model, factor in ((gemma, 8.0), (granite, 12.0), (llama, 1.0)):
        weight = model.get_input_embeddings().weight
        torch.testing.assert_close(embed(model, [9]), weight[9:10] * factor)
        assert embedding_rms(model) == pytest.approx(float((weight * factor).pow(2).mean().sqrt()), rel=1e-4)


def test_position_embeddings_are_not_taken_for_a_scale():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=60, n_embd=32, n_layer=1, n_head=2, n_positions=32, bos_token_id=None, eos_token_id=None
    )
    model = GPT2LMHeadModel(config).eval()
    model.transformer.wpe.weight.data.mul_(20)
    assert outer_embedding_scale(model) == 1.0
    assert backbone(model) is model.transformer


def test_gradient_reaches_every_row_of_theta_and_nothing_else(loaded):
    model, _ = loaded("gemma3")
    theta = torch.nn.Parameter(torch.randn(3, 64))
    ids = placeholders(model)
    with soft_prompt(model, theta, ids):
        model(torch.tensor([[5, *ids, *TEXT_IDS]])).logits[:, -1].sum().backward()
    assert (theta.grad.abs().sum(1) > 0).all()
    assert all(p.grad is None for p in model.parameters())


def test_a_disabled_or_removed_hook_has_no_effect(loaded):
    model, _ = loaded("llama")
    ids = (500, 501)
    text = torch.tensor([[5, *ids, *TEXT_IDS]])
    with torch.no_grad():
        plain = model(text).logits
        with soft_prompt(model, torch.randn(2, 64), ids) as hook:
            assert not torch.equal(model(text).logits, plain)
            hook.enabled = False
            assert torch.equal(model(text).logits, plain)
        assert torch.equal(model(text).logits, plain)
    embedding = model.get_input_embeddings()
    assert not embedding._forward_hooks
    assert not embedding._forward_pre_hooks


def test_hooks_are_removed_after_an_error(loaded):
    model, _ = loaded("llama")
    with pytest.raises(KeyboardInterrupt), soft_prompt(model, torch.randn(2, 64), (500, 501)):
        raise KeyboardInterrupt
    assert not model.get_input_embeddings()._forward_hooks


def test_a_bfloat16_model_accepts_a_float32_prompt(loaded):
    model = copy.deepcopy(loaded("llama")[0]).bfloat16()
    theta = torch.nn.Parameter(torch.randn(2, 64))
    with soft_prompt(model, theta, (700, 701)):
        model(torch.tensor([[5, 700, 701, 6]])).logits[:, -1].float().sum().backward()
    assert theta.grad.dtype == torch.float32
    assert theta.grad.abs().sum() > 0


@pytest.mark.parametrize(("shape", "ids"), [((2, 63), (1, 2)), ((3, 64), (1, 2)), ((2, 64), (7, 7))])
def test_prompts_that_do_not_fit_are_rejected(loaded, shape, ids):
    with pytest.raises(ValueError, match=r"expected|different"):
        SoftPromptHook(loaded("llama")[0], torch.zeros(shape), ids)


# transformers renamed this argument.
CACHE = "cache" if "cache" in signature(LlamaForCausalLM.forward).parameters else "past_key_values"


def watched(loaded, missing, name="llama", count=3):
    model, _ = loaded(name)
    ids = tuple(range(520, 520 + count))
    return model, ids, SoftPromptHook(model, torch.randn(count, 64), ids, missing=missing)


def test_a_model_warns_once_if_a_chat_begins_without_the_prompt(loaded):
    model, ids, hook = watched(loaded, "warn")
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("error")
            out = model(torch.tensor([[5, *ids, *TEXT_IDS]]), use_cache=True)
            # A decoding step and a later part of a chat continue a defended chat.
            model(torch.tensor([[7]]), **{CACHE: out[CACHE]})
            model(torch.tensor([[7, 9]]), **{CACHE: out[CACHE]})
            model.generate(torch.tensor([[5, *ids, *TEXT_IDS]]), max_new_tokens=3, do_sample=False)
            hook.enabled = False
            model(torch.tensor([TEXT_IDS]))
            hook.enabled = True
        with pytest.warns(UserWarning, match="undefended"), torch.no_grad():
            model.generate(torch.tensor([TEXT_IDS]), max_new_tokens=2, do_sample=False)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("error")
            model(torch.tensor([TEXT_IDS]))
    finally:
        hook.remove()
    assert not model._forward_pre_hooks


@pytest.mark.parametrize("damage", ["absent", "reversed", "twice", "in one row only", "one token", "empty cache"])
def test_a_strict_model_refuses_a_chat_without_the_whole_prompt(loaded, damage):
    model, ids, hook = watched(loaded, "raise")
    good = [5, *ids, *TEXT_IDS]
    given = {
        "absent": [TEXT_IDS],
        "reversed": [[5, *reversed(ids), *TEXT_IDS]],
        "twice": [[5, *ids, *ids, *TEXT_IDS]],
        "in one row only": [good, [5, *ids[:2], *TEXT_IDS, 4]],
        "one token": [[5]],
        "empty cache": [TEXT_IDS],
    }[damage]
    more = {CACHE: DynamicCache()} if damage in ("one token", "empty cache") else {}
    try:
        with torch.no_grad():
            model(torch.tensor([good]))
            for _ in range(2):
                with pytest.raises(UserError, match="undefended"):
                    model(input_ids=torch.tensor(given), **more)
    finally:
        hook.remove()


@pytest.mark.parametrize("chunk", [2, 3, 4, 16])
def test_a_prompt_may_be_split_by_chunked_prefill(loaded, chunk):
    model, ids, hook = watched(loaded, "raise")
    rows = torch.tensor([[5, *ids, *TEXT_IDS], [0, 5, *ids, *TEXT_IDS[1:]]])
    given = {"attention_mask": (rows != 0).long(), "max_new_tokens": 3, "do_sample": False}
    try:
        with torch.no_grad():
            assert torch.equal(model.generate(rows, **given, prefill_chunk_size=chunk), model.generate(rows, **given))
            for bad in ([5, *ids[:2], *TEXT_IDS, 4], [5, ids[1], ids[0], ids[2], *TEXT_IDS], [5, *TEXT_IDS, 1, 2, 3]):
                with pytest.raises(UserError, match="undefended"):
                    model.generate(torch.tensor([rows[0].tolist(), bad]), **given, prefill_chunk_size=chunk)
    finally:
        hook.remove()


def test_training_is_not_checked(loaded):
    model, ids, hook = watched(loaded, "raise")
    try:
        model.train()
        model(torch.tensor([TEXT_IDS]))
    finally:
        model.eval()
        hook.remove()
    with soft_prompt(model, torch.zeros(3, 64), ids):
        model(torch.tensor([TEXT_IDS]))
