"""The soft prompt inside a running model: a hook before the input embedding and one after it.

Token ids flow through the model as always, so one mechanism serves training, generation, padding, caches and
`generate`. The hook before the embedding maps placeholder ids to an id that exists; the hook after it writes the rows
of theta where the placeholders stood.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class SoftPromptHook:
    """Writes theta over the embeddings of the placeholder ids of a model. The model's weights stay untouched.

    Input shape of theta: [n, d], as the embeddings stand AFTER any embedding scale, in float32.

    Args:
        model: A causal language model of transformers.
        theta: The soft prompt; a parameter while it is trained.
        token_ids: The n placeholder ids, all different.
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
        # An id beyond the embedding table would raise inside the lookup, before any hook on its output.
        return (token_ids.masked_fill(where, self.valid_id), *inputs[1:])

    def _after(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        where, index = self._where, self._index
        self._where = self._index = None
        if where is None or index is None:
            return output
        rows = (self.theta / self.outer_scale).to(device=output.device, dtype=output.dtype)[index]
        return torch.where(where.unsqueeze(-1), rows, output)

    def remove(self) -> None:
        """Take both hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


@contextmanager
def soft_prompt(model: Any, theta: Tensor, token_ids: tuple[int, ...]) -> Iterator[SoftPromptHook]:
    """Have the soft prompt in the model for the length of a `with` block."""
    hook = SoftPromptHook(model, theta, token_ids)
    try:
        yield hook
    finally:
        hook.remove()


class _FirstBlockReached(Exception):
    """Ends the probing forward pass once the first decoder block has been entered."""


@torch.no_grad()
def outer_embedding_scale(model: Any) -> float:
    """The factor that a model applies to its embeddings AFTER the embedding module (Granite has one; most have 1).

    Gemma scales inside the module, where a forward hook already sees the scaled rows. Measured, not looked up by name:
    what enters the first decoder block is compared with what left the embedding module.
    """
    decoder = backbone(model)
    layers = next((m for m in decoder.modules() if isinstance(m, nn.ModuleList) and len(m) > 0), None)
    if layers is None:
        return 1.0
    seen: dict[str, Tensor] = {}

    def embedded(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        seen["embedding"] = output.float()

    def entered(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        hidden = inputs[0] if inputs else keywords["hidden_states"]
        seen["block"] = hidden.float()
        raise _FirstBlockReached

    embedding = model.get_input_embeddings()
    handles = [
        embedding.register_forward_hook(embedded),
        layers[0].register_forward_pre_hook(entered, with_kwargs=True),
    ]
    try:
        decoder(input_ids=torch.tensor([[1, 2, 3]], device=embedding.weight.device), use_cache=False)
    except _FirstBlockReached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    left, entered_ = seen["embedding"].flatten(), seen["block"].flatten()
    if left.shape != entered_.shape or float(left @ left) == 0.0:
        return 1.0
    scale = float(left @ entered_ / (left @ left))
    # Position embeddings or a norm that stand between the two are no scale.
    scaled = float((entered_ - scale * left).norm()) < 0.02 * float(entered_.norm())
    return scale if scaled and abs(scale - 1.0) > 1e-3 else 1.0


@torch.no_grad()
def logit_scale(model: Any) -> float:
    """The factor between the output matrix times a state and the logits (Granite divides, Cohere multiplies; most: 1).

    Measured on one forward pass, not looked up by name. Where logits are capped (Gemma 2) or a bias is added it is the
    factor that comes nearest.
    """
    ids = torch.tensor([[1, 2, 3]], device=model.get_input_embeddings().weight.device)
    head = model.get_output_embeddings().weight
    states = backbone(model)(input_ids=ids, use_cache=False).last_hidden_state
    plain = (states.to(head.dtype) @ head.T).float().flatten()
    logits = model(input_ids=ids, use_cache=False).logits.float().flatten()
    scale = float(plain @ logits / (plain @ plain).clamp_min(1e-9))
    return scale if abs(scale - 1.0) > 2e-2 else 1.0


def backbone(model: Any) -> Any:
    """The decoder of a causal language model, whose output is the state after the final norm (no vocabulary logits)."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    return decoder if decoder is not None and decoder is not model else model.base_model


@torch.no_grad()
def embed(model: Any, token_ids: list[int]) -> Tensor:
    """Embeddings of ids as they stand after any scale: [len(token_ids), d], float32."""
    embedding = model.get_input_embeddings()
    rows: Tensor = embedding(torch.tensor([token_ids], device=embedding.weight.device))[0]
    return rows.float() * outer_embedding_scale(model)


@torch.no_grad()
def embedding_rms(model: Any, sample: int = 4096) -> float:
    """Root mean square of the (scaled) embeddings, over an even sample of the vocabulary. Step sizes are set by it."""
    rows = int(model.get_input_embeddings().weight.shape[0])
    ids = torch.linspace(0, rows - 1, min(sample, rows)).long().tolist()
    return float(embed(model, ids).pow(2).mean().sqrt())
