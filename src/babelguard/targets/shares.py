"""What each process of a run does for a local model: its share of the states, or one batch of replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from babelguard import engine, parallel
from babelguard.defences import Defence
from babelguard.models.sharding import is_sharded


class Rules(NamedTuple):
    """The tokens that end replies, and those that are never generated; see `engine.generate`."""

    stop_ids: list[int]
    banned_ids: tuple[int, ...]


@torch.no_grad()
def share_of_states(
    model: Any, defence: Defence, prefix_ids: list[int], suffixes: Sequence[Sequence[int]], layers: Sequence[int]
) -> Tensor:
    """Return the states of this process's share of the chats, [1 + layers, share, d], float32."""
    with defence.active(model):
        prefix = engine.run_prefix(model, prefix_ids)
        return engine.share_of_states(model, prefix, suffixes, layers).float()


@torch.no_grad()
def batch_of_replies(
    model: Any,
    defence: Defence,
    prefix_ids: list[int],
    batches: Sequence[Sequence[Sequence[int]]],
    tokens: Sequence[Sequence[int]],
    rules: Rules,
) -> list[engine.Reply]:
    """Return the replies of this process's batch.

    Args:
        model: The model.
        defence: The defence.
        prefix_ids: The tokens that all chats begin with.
        batches: The suffixes of at most one batch per process.
        tokens: The maximum length of each reply of each batch.
        rules: The tokens that end replies, and those that are never generated.
    """
    mine = batches[parallel.rank()] if parallel.rank() < len(batches) else []
    if not mine and not is_sharded(model):
        return []
    with defence.active(model):
        prefix = engine.run_prefix(model, prefix_ids)
        # A process without a batch still runs its shard for the others.
        suffixes = mine or batches[0][:1]
        longest = tokens[parallel.rank()] if mine else tokens[0][:1]
        rest = rules._asdict()
        replies = engine.generate(model, prefix, suffixes, max_new_tokens=longest, batch_size=len(suffixes), **rest)
    return replies if mine else []
