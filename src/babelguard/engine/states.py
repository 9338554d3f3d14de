"""Hidden states at the last token of each chat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from babelguard import parallel
from babelguard.engine.prefix import Prefix, run_decoder, run_prefix, run_suffixes
from babelguard.models.sharding import is_sharded


def last_states(model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]], max_tokens: int = 512) -> Tensor:
    """Return the hidden state after the final norm at the last token of each chat, x(q, P) in docs/method.md.

    See `states_at_layers`.

    Returns:
        States [batch, d], in the dtype of the model.
    """
    return states_at_layers(model, prefix, suffixes, (), max_tokens)[0]


def states_at_layers(
    model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]], layers: Sequence[int], max_tokens: int = 512
) -> Tensor:
    """Return the hidden states at the last token of each chat: after the final norm, then after each of the given layers.

    Suffixes run in groups of at most `max_tokens` tokens. They are packed into one row if the model supports it.
    Otherwise, and for chats longer than a sliding window, they are padded on the right. Both are exact under causal
    attention; padding is slower, because padding tokens are computed and the prefix is copied for every suffix.

    Args:
        model: A causal language model.
        prefix: The shared prefix of all chats.
        suffixes: Token ids of each chat after the prefix.
        layers: Numbers of layers, counted from 1.
        max_tokens: Largest group, in tokens.

    Returns:
        States [1 + layers, batch, d], in the dtype of the model, on the device of its embeddings.
    """
    order = sorted(range(len(suffixes)), key=lambda k: len(suffixes[k]))
    longest = len(prefix.token_ids) + len(suffixes[order[-1]])
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    # The model is tested first, because processes with shards of it must run it equally often.
    forward = _packed_states if _can_pack(model) and (window is None or longest <= window) else _padded_states
    states: dict[int, Tensor] = {}
    for group in _groups([len(suffixes[k]) for k in order], max_tokens):
        rows = [order[k] for k in group]
        found = torch.stack(forward(model, prefix, [suffixes[k] for k in rows], layers))
        states.update(zip(rows, found.unbind(1), strict=True))
    return torch.stack([states[k] for k in range(len(suffixes))], dim=1)


def share_of_states(
    model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]], layers: Sequence[int], max_tokens: int = 512
) -> Tensor:
    """Return `states_at_layers` of this process's share of the suffixes; see `babelguard.parallel.share`."""
    mine = suffixes[parallel.share(len(suffixes))]
    states = states_at_layers(model, prefix, mine, layers, max_tokens) if mine else _no_states(model, layers)
    if not is_sharded(model):
        return states
    # The processes gather the weights together, so all of them run the model, and its backward pass, equally often.
    shares = [suffixes[parallel.share(len(suffixes), of)] for of in range(parallel.world())]
    counts = [len(list(_groups(sorted(map(len, one)), max_tokens))) for one in shares]
    for _ in range(max(counts) - counts[parallel.rank()]):
        states = states + 0 * states_at_layers(model, prefix, suffixes[:1], layers, max_tokens).sum()
    return states


def _no_states(model: Any, layers: Sequence[int]) -> Tensor:
    weight: Tensor = model.get_input_embeddings().weight
    return weight.new_zeros(1 + len(layers), 0, weight.shape[1])


def _padded_states(
    model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]], layers: Sequence[int] = ()
) -> list[Tensor]:
    """Return the states of suffixes padded on the right, [batch, d] for each layer."""
    hidden, _ = run_suffixes(model, prefix, suffixes, layers)
    rows, last = list(range(len(suffixes))), [len(suffix) - 1 for suffix in suffixes]
    return [_at(model, states, rows, last) for states in hidden]


def _packed_states(
    model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]], layers: Sequence[int] = ()
) -> list[Tensor]:
    """Return the states of suffixes packed into one row, with a mask that separates them, [batch, d] for each layer.

    There is no padding, and all suffixes share one copy of the prefix's keys and values. On a CPU this takes about a
    third less time.
    """
    weight, before = model.get_input_embeddings().weight, len(prefix.token_ids)
    # Computed from lists, because an accelerator would be waited for.
    owner = torch.tensor([k for k, suffix in enumerate(suffixes) for _ in suffix], device=weight.device)
    place = torch.tensor([k for suffix in suffixes for k in range(len(suffix))], device=weight.device)
    ends = list(accumulate(map(len, suffixes)))
    # A token attends to the prefix and to earlier tokens of its own suffix. The mask is added to the scores, [1, 1, T, P + T].
    hidden_pairs = (owner.unsqueeze(1) != owner) | (place.unsqueeze(1) < place)
    mask = torch.zeros(hidden_pairs.shape, dtype=weight.dtype, device=weight.device)
    mask = torch.nn.functional.pad(mask.masked_fill(hidden_pairs, torch.finfo(weight.dtype).min), (before, 0))
    ids = torch.tensor([[token for suffix in suffixes for token in suffix]], device=weight.device)
    inputs = {"input_ids": ids, "attention_mask": mask[None, None], "position_ids": (before + place).unsqueeze(0)}
    hidden = run_decoder(model, prefix.cache(1), layers, **inputs)
    return [_at(model, states, [0] * len(ends), [end - 1 for end in ends]) for states in hidden]


def _at(model: Any, states: Tensor, rows: list[int], places: list[int]) -> Tensor:
    """Return the states at some places of some rows, [rows, d], on the device of the embeddings.

    Args:
        model: The model.
        states: The states of a layer, [batch, time, d], on the device of the layer.
        rows: The row of each wanted state.
        places: Its place in the row.
    """
    chosen = states[torch.tensor(rows, device=states.device), torch.tensor(places, device=states.device)]
    return chosen.to(model.get_input_embeddings().weight.device)


_PACKING: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


@torch.no_grad()
def _can_pack(model: Any) -> bool:
    """Whether the model respects a custom mask and positions. Tested once per model on a few tokens."""
    if model not in _PACKING:
        prefix, suffixes = run_prefix(model, [3, 4, 5]), [[6, 7], [8, 9, 10, 11], [12]]
        expected = _padded_states(model, prefix, suffixes)[0].float()
        try:
            error = (_packed_states(model, prefix, suffixes)[0].float() - expected).norm() / expected.norm()
            single = model.get_input_embeddings().weight.dtype == torch.float32
            _PACKING[model] = bool(error < (1e-4 if single else 2e-2))
        except Exception:  # models raise different errors for an unsupported mask; padding always works
            _PACKING[model] = False
    return _PACKING[model]


def _groups(lengths: list[int], max_tokens: int) -> Iterator[list[int]]:
    """Split ascending lengths into groups whose padded size is at most `max_tokens`."""
    group: list[int] = []
    for index, length in enumerate(lengths):
        if group and length * (len(group) + 1) > max_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
