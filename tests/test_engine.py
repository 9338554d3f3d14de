from __future__ import annotations

import pytest
import tiny
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from babelguard import engine
from babelguard.errors import UserError
from babelguard.models.checks import check_cacheable
from babelguard.prompt.hook import soft_prompt
from babelguard.prompt.slot import install, render, tokenise

QUESTIONS = [
    "Hi",
    "How do I bake bread with little yeast?",
    "적은 효모로 빵을 어떻게 굽나요?",
    "Πώς ψήνω ψωμί με λίγη μαγιά; Explain it to me as if I had never seen an oven before, please.",
    "Bake",
    "用很少的酵母怎么烤面包？",
    "Hvordan bager jeg brød?",
    "Kneading",
]
SOFT = 6


@pytest.fixture(params=tiny.FAMILIES)
def defended(request, loaded):
    """Return name, model, theta, placeholder ids and rendered chats of a model with a random soft prompt."""
    model, tokenizer = loaded(request.param)
    carrier, slot = install(tokenizer, SOFT, model.get_input_embeddings().weight.shape[0])
    chats = [tokenise(carrier, render(carrier, [{"role": "user", "content": text}])) for text in QUESTIONS]
    theta = torch.randn(SOFT, 64, generator=torch.Generator().manual_seed(3))
    return request.param, model, theta, slot.token_ids, chats


def whole_states(model, chats):
    """Compute the states without a shared prefix: every chat is one sequence."""
    return torch.stack([model.model(torch.tensor([chat])).last_hidden_state[0, -1] for chat in chats])


def relative(a, b):
    return float((a - b).norm() / b.norm())


def test_loss_and_gradient_equal_those_of_whole_sequences(defended):
    name, model, theta, ids, chats = defended
    assert len({len(chat) for chat in chats}) > 4
    if name == "gemma3":
        assert model.config.sliding_window < min(map(len, chats))
    prefix_ids = engine.shared_prefix(chats)
    assert set(ids) <= set(prefix_ids)
    target = torch.randn(len(chats), 64, generator=torch.Generator().manual_seed(4))
    results = []
    for shared in (True, False):
        parameter = torch.nn.Parameter(theta.clone())
        with soft_prompt(model, parameter, ids):
            if shared:
                prefix = engine.run_prefix(model, prefix_ids)
                states = engine.last_states(model, prefix, engine.split(chats, prefix_ids), max_tokens=100)
            else:
                states = whole_states(model, chats)
            loss = (states - target).pow(2).mean()
            loss.backward()
        results.append((states.detach(), loss.detach(), parameter.grad))
    for mine, plain in zip(*results, strict=True):
        assert relative(mine, plain) <= 1e-5


@pytest.mark.parametrize("layers", [(1,), (2, 1)])
def test_states_at_layers_equal_those_of_whole_sequences(defended, layers):
    _, model, theta, ids, chats = defended
    prefix_ids = engine.shared_prefix(chats)
    suffixes = engine.split(chats, prefix_ids)
    with torch.no_grad(), soft_prompt(model, theta, ids):
        prefix = engine.run_prefix(model, prefix_ids)
        states = engine.states_at_layers(model, prefix, suffixes, layers, max_tokens=60)
        whole = [model(torch.tensor([chat]), output_hidden_states=True).hidden_states for chat in chats]
        last = engine.last_states(model, prefix, suffixes, max_tokens=60)
    assert torch.equal(states[0], last)
    for found, layer in zip(states[1:], layers, strict=True):
        # The entry after the last layer includes the final norm in transformers.
        assert relative(found, torch.stack([hidden[layer][0, -1] for hidden in whole])) <= 1e-5


def test_training_in_one_group_equals_training_in_many(loaded, defended):
    _, model, theta, ids, chats = defended
    prefix_ids = engine.shared_prefix(chats)
    suffixes = engine.split(chats, prefix_ids)
    with torch.no_grad(), soft_prompt(model, theta, ids):
        prefix = engine.run_prefix(model, prefix_ids)
        together = engine.last_states(model, prefix, suffixes)
        apart = engine.last_states(model, prefix, suffixes, max_tokens=1)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def stock_replies(model, chats, ids, stop, tokens):
    """Generate greedily with transformers, one chat at a time, with the placeholders suppressed."""
    rows = model.get_output_embeddings().weight.shape[0]
    replies = []
    for chat in chats:
        tensor = torch.tensor([chat])
        out = model.generate(
            tensor,
            attention_mask=torch.ones_like(tensor),
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=stop,
            pad_token_id=0,
            suppress_tokens=[i for i in ids if i < rows] or None,
        )
        new = out[0, len(chat) :].tolist()
        ended = new[-1] in stop
        replies.append(engine.Reply(new[:-1] if ended else new, ended))
    return replies


def test_generation_equals_stock_greedy_generation(defended):
    _, model, theta, ids, chats = defended
    prefix_ids = engine.shared_prefix(chats)
    suffixes = engine.split(chats, prefix_ids)
    with torch.no_grad(), soft_prompt(model, theta, ids):
        prefix = engine.run_prefix(model, prefix_ids)

        def generate(stop, batch_size, tokens=10):
            given = {"stop_ids": stop, "banned_ids": ids, "batch_size": batch_size}
            return engine.generate(model, prefix, suffixes, max_new_tokens=tokens, **given)

        free = generate([], 8)
        # Tokens from the middle of some replies are used as end tokens, so that rows end at different times.
        stop = [free[1].token_ids[4], free[3].token_ids[2], free[5].token_ids[0]]
        expected = stock_replies(model, chats, ids, stop, 10)
        assert generate(stop, 8) == expected
        assert generate(stop, 1) == expected
        assert generate(stop, 3) == expected
        # Rows with different maximum lengths are generated together.
        limits = [1 + 3 * (k % 4) for k in range(len(chats))]
        own = [stock_replies(model, [chat], ids, stop, limit)[0] for chat, limit in zip(chats, limits, strict=True)]
        assert len({len(reply.token_ids) for reply in own}) > 2
        assert generate(stop, 8, limits) == own
        assert generate(stop, 3, limits) == own
    ends = {(len(reply.token_ids), reply.finished) for reply in expected}
    assert len(ends) > 2
    assert {finished for _, finished in ends} == {True, False}


def test_banned_ids_are_never_generated(loaded):
    model, _ = loaded("llama")
    prefix = engine.run_prefix(model, [3, 4])
    given = {"max_new_tokens": 4, "stop_ids": []}
    free = engine.generate(model, prefix, [[9, 10]], **given)[0].token_ids
    rows = model.get_output_embeddings().weight.shape[0]
    banned = engine.generate(model, prefix, [[9, 10]], banned_ids=[free[0], rows + 3], **given)[0].token_ids
    assert free[0] not in banned


def test_finished_batches_are_reported_and_known_replies_are_skipped(loaded):
    model, _ = loaded("llama")
    prefix = engine.run_prefix(model, [3, 4])
    suffixes = [[9], [9, 10], [11, 12, 13], [5]]
    given = {"max_new_tokens": 3, "stop_ids": [], "batch_size": 2}
    seen = []
    replies = engine.generate(model, prefix, suffixes, done=seen.append, **given)
    assert sorted(index for batch in seen for index, _ in batch) == [0, 1, 2, 3]
    assert all(replies[index] == reply for batch in seen for index, reply in batch)
    again, known = [], {index: replies[index] for index, _ in seen[0]}
    assert engine.generate(model, prefix, suffixes, done=again.append, known=known, **given) == replies
    assert again == seen[1:]


def test_batches_longer_than_the_window_have_one_length(loaded):
    gemma, llama = loaded("gemma3")[0], loaded("llama")[0]
    suffixes = [[1] * n for n in (2, 9, 2, 3, 9, 4)]
    for model, exact in ((gemma, True), (llama, False)):
        prefix = engine.run_prefix(model, [3, 4])
        batches = engine.generation_batches(model, prefix.token_ids, suffixes, [4] * 6, 4)
        assert sorted(row for batch in batches for row in batch) == list(range(6))
        assert max(map(len, batches)) <= 4
        mixed = [batch for batch in batches if len({len(suffixes[row]) for row in batch}) > 1]
        assert bool(mixed) != exact


def test_a_short_chat_with_a_long_reply_does_not_join_chats_that_fill_the_window(loaded):
    model, _ = loaded("gemma3")
    window = model.config.get_text_config().sliding_window
    suffixes, limits = [[1] * (window + 2), [1] * (window + 2), [1]], [2, 2, 3]
    assert engine.generation_batches(model, [3, 4], suffixes, limits, 8) == [[0, 1], [2]]


def test_rows_with_the_same_maximum_length_share_a_batch(loaded):
    model, _ = loaded("llama")
    suffixes, limits = [[1] * n for n in (2, 9, 3, 8)], [4, 4, 20, 20]
    assert engine.generation_batches(model, [3], suffixes, limits, 2) == [[0, 1], [2, 3]]


def test_the_shared_prefix_leaves_every_chat_one_token():
    assert engine.shared_prefix([[1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 9]]) == [1, 2]
    assert engine.shared_prefix([[1, 2, 3]]) == [1, 2]
    assert engine.shared_prefix([[1, 2], [1, 2, 3]]) == [1]
    assert engine.shared_prefix([[1], [2]]) == []
    with pytest.raises(ValueError, match="shared prefix"):
        engine.split([[1, 2, 3], [2, 2, 3]], [1, 2])


def test_chats_without_a_shared_prefix(loaded):
    model, _ = loaded("qwen2")
    chats = [[7, 8, 9], [10, 11]]
    prefix = engine.run_prefix(model, engine.shared_prefix(chats))
    with torch.no_grad():
        torch.testing.assert_close(engine.last_states(model, prefix, chats), whole_states(model, chats))
    replies = engine.generate(model, prefix, chats, max_new_tokens=4, stop_ids=[])
    assert replies == stock_replies(model, chats, (), [0], 4)


SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2}
FOREIGN = {
    "mamba": SMALL | {"state_size": 4},
    "mamba2": SMALL | {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 4},
    "recurrent_gemma": SMALL | {"num_attention_heads": 2, "intermediate_size": 64, "lru_width": 32},
    "jamba": SMALL | {"intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "num_experts": 2},
    "lfm2": SMALL
    | {"num_attention_heads": 2, "num_key_value_heads": 1, "full_attn_idxs": [1], "intermediate_size": 32},
    "falcon_h1": SMALL | {"intermediate_size": 32, "num_attention_heads": 2, "mamba_d_ssm": 32, "mamba_n_heads": 4},
    "bamba": SMALL | {"num_attention_heads": 2, "attn_layer_indices": [1], "mamba_n_heads": 8, "mamba_d_head": 8},
    "rwkv": SMALL | {"attention_hidden_size": 32},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_recurrent_and_hybrid_models_are_rejected_by_name(kind, library_warnings):
    config = AutoConfig.for_model(kind, **FOREIGN[kind])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    library_warnings.clear()  # these models warn about missing fast kernels
    with pytest.raises(UserError, match=f"'{kind}'"):
        check_cacheable(model)


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_attention_models_are_accepted(loaded, name):
    check_cacheable(loaded(name)[0])
