"""Hidden states at the last token of each chat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from babelguard.engine.prefix import Prefix, run_decoder, run_prefix, run_suffixes


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
        States [1 + layers, batch, d], in the dtype of the model.
    """
    order = sorted(range(len(suffixes)), key=lambda k: len(suffixes[k]))
    longest = len(prefix.token_ids) + len(suffixes[order[-1]])
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    forward = _packed_states if (window is None or longest <= window) and _can_pack(model) else _padded_states
    states: dict[int, Tensor] = {}
    for group in _groups([len(suffixes[k]) for k in order], max_tokens):
        rows = [order[k] for k in group]
        found = forward(model, prefix, [suffixes[k] for k in rows], layers)
        states.update(zip(rows, found.unbind(1), strict=True))
    return torch.stack([states[k] for k in range(len(suffixes))], dim=1)


def _padded_states(model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]], layers: Sequence[int] = ()) -> Tensor:
    """Return the states [1 + layers, batch, d] of suffixes padded on the right."""
    hidden, _ = run_suffixes(model, prefix, suffixes, layers)
    device = hidden[0].device
    last = torch.tensor([len(suffix) - 1 for suffix in suffixes], device=device)
    return torch.stack([states[torch.arange(len(suffixes), device=device), last] for states in hidden])


def _packed_states(model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]], layers: Sequence[int] = ()) -> Tensor:
    """Return the states [1 + layers, batch, d] of suffixes packed into one row, with a mask that separates them.

    There is no padding, and all suffixes share one copy of the prefix's keys and values. On a CPU this takes about a
    third less time.
    """
    weight, before = model.get_input_embeddings().weight, len(prefix.token_ids)
    lengths = torch.tensor([len(suffix) for suffix in suffixes], device=weight.device)
    ends = lengths.cumsum(0)
    owner = torch.arange(len(suffixes), device=weight.device).repeat_interleave(lengths)
    place = torch.arange(len(owner), device=weight.device) - (ends - lengths)[owner]
    # A token attends to the prefix and to earlier tokens of its own suffix. The mask is added to the scores, [1, 1, T, P + T].
    hidden_pairs = (owner.unsqueeze(1) != owner) | (place.unsqueeze(1) < place)
    mask = torch.zeros(hidden_pairs.shape, dtype=weight.dtype, device=weight.device)
    mask = torch.nn.functional.pad(mask.masked_fill(hidden_pairs, torch.finfo(weight.dtype).min), (before, 0))
    ids = torch.tensor([[token for suffix in suffixes for token in suffix]], device=weight.device)
    inputs = {"input_ids": ids, "attention_mask": mask[None, None], "position_ids": (before + place).unsqueeze(0)}
    return torch.stack([states[0, ends - 1] for states in run_decoder(model, prefix.cache(1), layers, **inputs)])


_PACKING: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


@torch.no_grad()
def _can_pack(model: Any) -> bool:
    """Whether the model respects a custom mask and positions. Tested once per model on a few tokens."""
    if model not in _PACKING:
        prefix, suffixes = run_prefix(model, [3, 4, 5]), [[6, 7], [8, 9, 10, 11], [12]]
        expected = _padded_states(model, prefix, suffixes).float()
        try:
            error = (_packed_states(model, prefix, suffixes).float() - expected).norm() / expected.norm()
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
