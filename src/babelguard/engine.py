"""The shared-prefix engine: one code path for base states, training and generation.

All chats of a batch begin with the same tokens: the head of the template and the safety prompt. That prefix is run
once with batch size 1, its keys and values are expanded over the batch, and only the suffixes are run. States, losses
and gradients are the same as those of whole sequences; the cost of the prefix is paid once instead of once a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import DynamicCache

from babelguard.errors import UserError
from babelguard.hook import backbone

KeyValues = list[tuple[Tensor, Tensor]]


class Reply(NamedTuple):
    """A generated reply: its token ids without the end token, and whether it ended by itself."""

    token_ids: list[int]
    finished: bool


@dataclass(frozen=True)
class Prefix:
    """The shared head of a batch of chats: its ids, and the keys and values of every layer at batch size 1."""

    token_ids: list[int]
    layers: KeyValues

    def cache(self, batch: int) -> DynamicCache:
        """A fresh cache in which each of `batch` rows sees the prefix; nothing is copied until it is appended to."""
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1), index)
        return cache


def check_cacheable(model: Any) -> None:
    """Refuse models whose state is not a key-value cache of attention layers alone.

    Raises:
        UserError: naming the model type, for recurrent and hybrid models.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    foreign = sorted(kinds - {"full_attention", "sliding_attention"})
    stateful = bool(getattr(model, "_is_stateful", False))
    if foreign or stateful:
        what = ", ".join(foreign) if foreign else "a recurrent state"
        raise UserError(
            f"Models of type '{config.model_type}' keep {what}, which cannot be shared between the rows of a batch; "
            "choose a model with plain or sliding-window attention (Llama, Qwen, Mistral, Gemma and the like)."
        )


def shared_prefix(chats: Sequence[Sequence[int]]) -> list[int]:
    """The longest list of ids that all chats begin with, leaving each chat a suffix of at least one token."""
    shortest, longest = min(map(list, chats)), max(map(list, chats))
    limit = min(len(chat) for chat in chats) - 1
    length = next((k for k in range(limit) if shortest[k] != longest[k]), limit)
    return shortest[:length]


def _run(model: Any, cache: DynamicCache, **inputs: Tensor) -> Tensor:
    """The states after the final norm, [batch, time, d]; the cache is read and appended to."""
    decoder = backbone(model)
    # transformers renamed the argument in 5.24; models that bring their own code keep the old name for longer.
    name = "cache" if "cache" in signature(decoder.forward).parameters else "past_key_values"
    states: Tensor = decoder(**inputs, **{name: cache}, use_cache=True).last_hidden_state
    return states


def run_prefix(model: Any, token_ids: list[int]) -> Prefix:
    """Run the prefix once at batch size 1. Gradients reach theta through its keys and values if they are enabled."""
    # A cache without a configuration keeps every key of sliding-window layers too; the window is in the mask, so
    # expanding and appending are exact at any length.
    cache = DynamicCache()
    device = model.get_input_embeddings().weight.device
    if token_ids:
        _run(model, cache, input_ids=torch.tensor([token_ids], device=device))
    layers: list[Any] = list(cache.layers)
    return Prefix(token_ids, [(layer.keys, layer.values) for layer in layers])


def _suffix_forward(model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]]) -> tuple[Tensor, DynamicCache]:
    """Run suffixes behind the prefix, padded on the right: states [batch, time, d] and the cache."""
    device = model.get_input_embeddings().weight.device
    lengths = [len(suffix) for suffix in suffixes]
    batch, width, before = len(suffixes), max(lengths), len(prefix.token_ids)
    ids = torch.zeros(batch, width, dtype=torch.long)
    mask = torch.zeros(batch, before + width, dtype=torch.long)
    mask[:, :before] = 1
    for row, suffix in enumerate(suffixes):
        ids[row, : len(suffix)] = torch.tensor(suffix)
        mask[row, before : before + len(suffix)] = 1
    positions = torch.arange(before, before + width, device=device).unsqueeze(0).expand(batch, -1)
    cache = prefix.cache(batch)
    hidden = _run(model, cache, input_ids=ids.to(device), attention_mask=mask.to(device), position_ids=positions)
    return hidden, cache


def last_states(model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]], max_tokens: int = 512) -> Tensor:
    """The state after the final norm at the last token of each chat: [batch, d] (method: x(q, P)).

    Suffixes run in groups of at most `max_tokens`, packed into one row if the model allows it. Otherwise, and for chats
    longer than a sliding window, they are padded on the right. That is exact too, because under causal attention no
    real token sees what comes after it, but it runs the padding and copies the prefix for every suffix.
    """
    order = sorted(range(len(suffixes)), key=lambda k: len(suffixes[k]))
    longest = len(prefix.token_ids) + len(suffixes[order[-1]])
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    forward = _packed_states if (window is None or longest <= window) and _can_pack(model) else _padded_states
    states: dict[int, Tensor] = {}
    for group in _groups([len(suffixes[k]) for k in order], max_tokens):
        rows = [order[k] for k in group]
        states.update(zip(rows, forward(model, prefix, [suffixes[k] for k in rows]), strict=True))
    return torch.stack([states[k] for k in range(len(suffixes))])


def _padded_states(model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]]) -> Tensor:
    """Last states [batch, d] of suffixes that are padded on the right."""
    hidden, _ = _suffix_forward(model, prefix, suffixes)
    last = torch.tensor([len(suffix) - 1 for suffix in suffixes], device=hidden.device)
    return hidden[torch.arange(len(suffixes), device=hidden.device), last]


def _packed_states(model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]]) -> Tensor:
    """Last states [batch, d] of suffixes that stand one behind another in one row, each blind to the others.

    Nothing is padded, and all suffixes share the one copy of the prefix's keys and values. A third faster on a CPU.
    """
    weight, before = model.get_input_embeddings().weight, len(prefix.token_ids)
    lengths = torch.tensor([len(suffix) for suffix in suffixes], device=weight.device)
    ends = lengths.cumsum(0)
    owner = torch.arange(len(suffixes), device=weight.device).repeat_interleave(lengths)
    place = torch.arange(len(owner), device=weight.device) - (ends - lengths)[owner]
    # A token sees the whole prefix, and of its own suffix what stands before it: added to the scores, [1, 1, T, P + T].
    hidden_pairs = (owner.unsqueeze(1) != owner) | (place.unsqueeze(1) < place)
    mask = torch.zeros(hidden_pairs.shape, dtype=weight.dtype, device=weight.device)
    mask = torch.nn.functional.pad(mask.masked_fill(hidden_pairs, torch.finfo(weight.dtype).min), (before, 0))
    ids = torch.tensor([[token for suffix in suffixes for token in suffix]], device=weight.device)
    positions = (before + place).unsqueeze(0)
    states = _run(model, prefix.cache(1), input_ids=ids, attention_mask=mask[None, None], position_ids=positions)
    return states[0, ends - 1]


_PACKING: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


@torch.no_grad()
def _can_pack(model: Any) -> bool:
    """Whether the model follows our own mask and positions. Tried out once on a few tokens, not looked up by name."""
    if model not in _PACKING:
        prefix, suffixes = run_prefix(model, [3, 4, 5]), [[6, 7], [8, 9, 10, 11], [12]]
        expected = _padded_states(model, prefix, suffixes).float()
        try:
            error = (_packed_states(model, prefix, suffixes).float() - expected).norm() / expected.norm()
            single = model.get_input_embeddings().weight.dtype == torch.float32
            _PACKING[model] = bool(error < (1e-4 if single else 2e-2))
        except Exception:  # whatever a model raises at a mask that it does not know, there is the padded way
            _PACKING[model] = False
    return _PACKING[model]


def _groups(lengths: list[int], max_tokens: int) -> Iterator[list[int]]:
    """Cut ascending lengths into runs whose padded size stays within `max_tokens`."""
    group: list[int] = []
    for index, length in enumerate(lengths):
        if group and length * (len(group) + 1) > max_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def split(chats: Sequence[Sequence[int]], prefix_ids: Sequence[int]) -> list[list[int]]:
    """The suffix of each chat behind the prefix."""
    length = len(prefix_ids)
    for chat in chats:
        if list(chat[:length]) != list(prefix_ids) or len(chat) <= length:
            raise ValueError("a chat does not begin with the shared prefix")
    return [list(chat[length:]) for chat in chats]


@torch.no_grad()
def generate(
    model: Any,
    prefix: Prefix,
    suffixes: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    banned_ids: Sequence[int] = (),
    batch_size: int = 32,
    known: Mapping[int, Reply] | None = None,
    done: Callable[[list[tuple[int, Reply]]], None] | None = None,
) -> list[Reply]:
    """Greedy replies to chats that share a prefix.

    Neighbours in length share a batch; a row that has ended leaves it. `done` is called after each batch with
    (index, reply) pairs, so that a killed run loses one batch. Batches are cut from the whole list and skipped if all
    their replies are `known`: a resumed run computes the same batches, hence the same floating-point sums, as one that
    was never stopped.
    """
    replies: dict[int, Reply] = dict(known or {})
    for rows in generation_batches(model, prefix, suffixes, max_new_tokens, batch_size):
        if all(k in replies for k in rows):
            continue
        out = _generate_batch(model, prefix, [suffixes[k] for k in rows], max_new_tokens, stop_ids, banned_ids)
        finished = list(zip(rows, out, strict=True))
        replies.update(finished)
        if done is not None:
            done(finished)
    return [replies[k] for k in range(len(suffixes))]


def generation_batches(
    model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]], max_new_tokens: int, batch_size: int
) -> list[list[int]]:
    """Cut rows into batches of neighbours in length.

    Padding between suffix and reply is masked, which is exact for full attention. A sliding window counts places in
    the cache, padding included, so chats longer than the window are put together by their exact length.
    """
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    order = sorted(range(len(suffixes)), key=lambda k: (len(suffixes[k]), k))
    batches: list[list[int]] = []
    for row in order:
        length = len(suffixes[row])
        exact = window is not None and len(prefix.token_ids) + length + max_new_tokens > window
        together = batches and len(batches[-1]) < batch_size
        if together and exact:
            together = len(suffixes[batches[-1][0]]) == length
        if together:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def _choose(head: Any, state: Tensor, banned_ids: Sequence[int]) -> list[int]:
    """The likeliest token of each row, [batch, d] -> [batch]. Scales and soft caps of logits do not change which it is.

    In float32 a CPU takes the vocabulary in pieces whose logits stay in its cache: a third less time.
    """
    rows = head.weight.shape[0]
    in_pieces = state.device.type == "cpu" and state.dtype == torch.float32 and type(head) is torch.nn.Linear
    piece = 2048 if in_pieces else rows
    values, places = [], []
    for start in range(0, rows, piece):
        end = min(start + piece, rows)
        if in_pieces:
            bias = None if head.bias is None else head.bias[start:end]
            logits = torch.nn.functional.linear(state, head.weight[start:end], bias)
        else:
            logits = head(state)
        banned = [k - start for k in banned_ids if start <= k < end]
        if banned:
            logits[:, banned] = float("-inf")
        best = logits.max(-1)  # the first of equals, as argmax, and several times faster on a CPU
        values.append(best.values)
        places.append(best.indices + start)
    winner = torch.stack(values).max(0, keepdim=True).indices
    chosen: list[int] = torch.stack(places).gather(0, winner)[0].tolist()
    return chosen


def _generate_batch(
    model: Any,
    prefix: Prefix,
    suffixes: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop_ids: Sequence[int],
    banned_ids: Sequence[int],
) -> list[Reply]:
    head = model.get_output_embeddings()
    device = head.weight.device
    stop = set(stop_ids)
    lengths = torch.tensor([len(suffix) for suffix in suffixes], device=device)
    before, width = len(prefix.token_ids), int(lengths.max())
    hidden, cache = _suffix_forward(model, prefix, suffixes)
    state = hidden[torch.arange(len(suffixes), device=device), lengths - 1]
    mask = (torch.arange(before + width, device=device) < before + lengths.unsqueeze(1)).long()
    positions = before + lengths
    alive = list(range(len(suffixes)))
    tokens: list[list[int]] = [[] for _ in suffixes]
    finished = [False] * len(suffixes)
    for step in range(max_new_tokens):
        chosen = _choose(head, state, banned_ids)
        keep = []
        for place, (row, token) in enumerate(zip(alive, chosen, strict=True)):
            if token in stop:
                finished[row] = True
            else:
                tokens[row].append(token)
                keep.append(place)
        if not keep or step == max_new_tokens - 1:
            break
        if len(keep) < len(alive):
            index = torch.tensor(keep, device=device)
            cache.batch_select_indices(index)
            mask, positions = mask[index], positions[index]
            alive, chosen = [alive[k] for k in keep], [chosen[k] for k in keep]
        ids = torch.tensor(chosen, device=device).unsqueeze(1)
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        hidden = _run(model, cache, input_ids=ids, attention_mask=mask, position_ids=positions.unsqueeze(1))
        positions = positions + 1
        state = hidden[:, -1]
    return [Reply(t, f) for t, f in zip(tokens, finished, strict=True)]
