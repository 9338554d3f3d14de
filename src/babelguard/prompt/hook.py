"""Insert the soft prompt into a running model with two hooks on its input embedding.

The model still receives token ids, so the same mechanism works for training, `generate`, padding and caches. The hook
before the embedding replaces placeholder ids by a valid id. The hook after it writes the rows of theta at their
positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from babelguard.models.probes import outer_embedding_scale


class SoftPromptHook:
    """Replaces the embeddings of the placeholder ids by theta. The weights of the model are not changed.

    Args:
        model: A causal language model of transformers.
        theta: The soft prompt, [n, d], float32, on the scale of the first decoder block's input. A parameter during
            training.
        token_ids: The n placeholder ids, all different.

    Raises:
        ValueError: If the shape of theta does not fit, or an id occurs twice.
    """

    def __init__(self, model: Any, theta: Tensor, token_ids: tuple[int, ...]) -> None:
        embedding = model.get_input_embeddings()
        width = int(embedding.weight.shape[1])
        if theta.ndim != 2 or theta.shape[0] != len(token_ids) or theta.shape[1] != width:
            raise ValueError(f"theta is {tuple(theta.shape)}, expected ({len(token_ids)}, {width})")
        if len(set(token_ids)) != len(token_ids):
            raise ValueError("the placeholder ids are not all different")
        self.theta = theta
        self.enabled = True
        self.outer_scale = outer_embedding_scale(model)
        self.ids = torch.tensor(token_ids, device=embedding.weight.device)
        self.valid_id = 0
        self._where: Tensor | None = None
        self._index: Tensor | None = None
        self._handles = [
            embedding.register_forward_pre_hook(self._before),
            embedding.register_forward_hook(self._after),
        ]

    def _before(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self.enabled:
            return inputs
        token_ids = inputs[0]
        match = token_ids.unsqueeze(-1) == self.ids.to(token_ids.device)  # [batch, time, n]
        where = match.any(-1)
        self._where = where if bool(where.any()) else None
        self._index = match.int().argmax(-1)
        # An id beyond the embedding table would raise an error during the lookup.
        return (token_ids.masked_fill(where, self.valid_id), *inputs[1:])

    def _after(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        where, index = self._where, self._index
        self._where = self._index = None
        if where is None or index is None:
            return output
        rows = (self.theta / self.outer_scale).to(device=output.device, dtype=output.dtype)[index]
        return torch.where(where.unsqueeze(-1), rows, output)

    def remove(self) -> None:
        """Remove both hooks from the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


@contextmanager
def soft_prompt(model: Any, theta: Tensor, token_ids: tuple[int, ...]) -> Iterator[SoftPromptHook]:
    """Insert the soft prompt into the model within a `with` block."""
    hook = SoftPromptHook(model, theta, token_ids)
    try:
        yield hook
    finally:
        hook.remove()
