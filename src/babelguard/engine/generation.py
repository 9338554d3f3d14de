"""Greedy replies to chats that share a prefix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from babelguard import parallel
from babelguard.engine.prefix import Prefix, run_decoder, run_suffixes
from babelguard.models.sharding import is_sharded

# Stands for a row that runs only because another process needs this one's shard of the model.
IDLE = -1


class Reply(NamedTuple):
    """A generated reply: its token ids without the end token, and whether the model ended it."""

    token_ids: list[int]
    finished: bool


@torch.no_grad()
def generate(
    model: Any,
    prefix: Prefix,
    suffixes: Sequence[Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int],
    stop_ids: Sequence[int],
    banned_ids: Sequence[int] = (),
    batch_size: int = 32,
    known: Mapping[int, Reply] | None = None,
    done: Callable[[list[tuple[int, Reply]]], None] | None = None,
) -> list[Reply]:
    """Generate greedy replies to chats that share a prefix.

    Chats of similar length share a batch, and a row leaves the batch when its reply ends or has its maximum length. Batches
    are always formed from the complete list and skipped if all their replies are known. A resumed run therefore computes the
    same batches, and the same floating-point results, as an uninterrupted one.

    Args:
        model: A causal language model.
        prefix: The shared prefix of all chats.
        suffixes: Token ids of each chat after the prefix.
        max_new_tokens: Maximum length of all replies, or of each reply.
        stop_ids: Token ids that end a reply.
        banned_ids: Token ids that are never generated, such as the placeholders of a soft prompt.
        batch_size: Replies generated together.
        known: Replies that exist already, by index.
        done: Called after each batch with its (index, reply) pairs.

    Returns:
        One reply per chat.
    """
    replies: dict[int, Reply] = dict(known or {})
    limits = [max_new_tokens] * len(suffixes) if isinstance(max_new_tokens, int) else max_new_tokens
    for rows in generation_batches(model, prefix.token_ids, suffixes, limits, batch_size):
        if all(k in replies for k in rows):
            continue
        chats, longest = [suffixes[k] for k in rows], [limits[k] for k in rows]
        out = _generate_batch(model, prefix, chats, longest, stop_ids, banned_ids)
        finished = list(zip(rows, out, strict=True))
        replies.update(finished)
        if done is not None:
            done(finished)
    return [replies[k] for k in range(len(suffixes))]


def generation_batches(
    model: Any,
    prefix_ids: Sequence[int],
    suffixes: Sequence[Sequence[int]],
    max_new_tokens: Sequence[int],
    batch_size: int,
) -> list[list[int]]:
    """Split rows into batches. Rows with the same maximum length of the reply, and of similar length, are together.

    Padding between suffix and reply is masked, which is exact for full attention. A sliding window counts positions in
    the cache, padding included, so chats longer than the window are batched by their exact length.

    Returns:
        The indices of the suffixes in each batch.
    """
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    order = sorted(range(len(suffixes)), key=lambda k: (max_new_tokens[k], len(suffixes[k]), k))
    batches: list[list[int]] = []
    for row in order:
        joined = [*batches[-1], row] if batches else [row]
        lengths = [len(suffixes[k]) for k in joined]
        longest = len(prefix_ids) + max(lengths) + max_new_tokens[row]
        fits = window is None or longest <= window or len(set(lengths)) == 1
        if batches and len(joined) <= batch_size and fits:
            batches[-1] = joined
        else:
            batches.append([row])
    return batches


def _choose(head: Any, state: Tensor, banned_ids: Sequence[int]) -> list[int]:
    """Return the most likely token of each row, [batch, d] -> [batch]. Logit scaling and soft caps do not change it.

    In float32 on a CPU the vocabulary is processed in pieces that fit into its cache, which takes a third less time.
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
        best = logits.max(-1)  # same result as argmax, several times faster on a CPU
        values.append(best.values)
        places.append(best.indices + start)
    winner = torch.stack(values).max(0, keepdim=True).indices
    chosen: list[int] = torch.stack(places).gather(0, winner)[0].tolist()
    return chosen


def _go_on(model: Any, alive: bool) -> bool:
    """Whether another token is needed: by this process, or by another one that cannot run its shard of the model alone."""
    return parallel.any_process(alive) if is_sharded(model) else alive


def _generate_batch(
    model: Any,
    prefix: Prefix,
    suffixes: Sequence[Sequence[int]],
    max_new_tokens: Sequence[int],
    stop_ids: Sequence[int],
    banned_ids: Sequence[int],
) -> list[Reply]:
    head = model.get_output_embeddings()
    # The last layers and the head can be on other devices.
    device = model.get_input_embeddings().weight.device
    stop = set(stop_ids)
    lengths = torch.tensor([len(suffix) for suffix in suffixes], device=device)
    before, width = len(prefix.token_ids), max(map(len, suffixes))
    (hidden,), cache = run_suffixes(model, prefix, suffixes)
    state = hidden[torch.arange(len(suffixes), device=hidden.device), (lengths - 1).to(hidden.device)]
    mask = (torch.arange(before + width, device=device) < before + lengths.unsqueeze(1)).long()
    positions = before + lengths
    alive = list(range(len(suffixes)))
    tokens: list[list[int]] = [[] for _ in suffixes]
    finished = [False] * len(suffixes)
    while True:
        chosen = _choose(head, state.to(head.weight.device), banned_ids)
        keep = []
        for place, (row, token) in enumerate(zip(alive, chosen, strict=True)):
            if row == IDLE:
                continue
            if token in stop:
                finished[row] = True
            else:
                tokens[row].append(token)
                if len(tokens[row]) < max_new_tokens[row]:
                    keep.append(place)
        if not _go_on(model, bool(keep)):
            break
        if not keep:
            keep, alive[0] = [0], IDLE
        if len(keep) < len(alive):
            index = torch.tensor(keep, device=device)
            kept: list[Any] = list(cache.layers)
            for layer in kept:
                layer.batch_select_indices(index.to(layer.keys.device))
            mask, positions = mask[index], positions[index]
            alive, chosen = [alive[k] for k in keep], [chosen[k] for k in keep]
        ids = torch.tensor(chosen, device=device).unsqueeze(1)
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        (hidden,) = run_decoder(model, cache, input_ids=ids, attention_mask=mask, position_ids=positions.unsqueeze(1))
        positions = positions + 1
        state = hidden[:, -1]
    return [Reply(t, f) for t, f in zip(tokens, finished, strict=True)]
