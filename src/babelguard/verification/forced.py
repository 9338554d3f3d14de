"""Run a model in this process along given tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Forced(NamedTuple):
    """What a model says along a path.

    Attributes:
        logits: [positions, vocabulary], float32, on the CPU: position k is before token k of the path.
        states: What the output embeddings receive, [positions, d], float32, on the CPU.
    """

    logits: Tensor
    states: Tensor


@torch.no_grad()
def run_along(model: Any, prompt_ids: Sequence[int], path: Sequence[int]) -> Forced:
    """Run a model on a chat and the beginning of a reply.

    Args:
        model: A causal language model.
        prompt_ids: Token ids of the chat.
        path: Token ids of the reply, at least one.
    """
    device = model.get_input_embeddings().weight.device
    ids = torch.tensor([[*prompt_ids, *path[:-1]]], device=device)
    with _head_input(model) as seen:
        logits = model(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, logits_to_keep=len(path)
        ).logits
    return Forced(logits[0, -len(path) :].float().cpu(), seen[0][0, -len(path) :].float().cpu())


@contextmanager
def _head_input(model: Any) -> Iterator[list[Tensor]]:
    """Record what the output embeddings of a model receive within a `with` block."""
    seen: list[Tensor] = []
    handle = model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        yield seen
    finally:
        handle.remove()


def without(logits: Tensor, banned: Sequence[int]) -> Tensor:
    """Return logits [..., vocabulary] in which some tokens are impossible."""
    kept = [k for k in banned if 0 <= k < logits.shape[-1]]
    return logits if not kept else logits.index_fill(-1, torch.tensor(kept), -torch.inf)
