"""Properties of a model that are measured instead of looked up by its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class _FirstBlockReached(Exception):
    """Ends the forward pass of a probe when it reaches the first decoder block."""


@torch.no_grad()
def outer_embedding_scale(model: Any) -> float:
    """Return the factor that a model applies to embeddings AFTER the embedding module (Granite; 1 for most models).

    Gemma scales inside the module, where a forward hook already sees scaled rows. The factor is measured by comparing
    the input of the first decoder block with the output of the embedding module.
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
    # If position embeddings or a norm come in between, the relation is not a plain factor.
    scaled = float((entered_ - scale * left).norm()) < 0.02 * float(entered_.norm())
    return scale if scaled and abs(scale - 1.0) > 1e-3 else 1.0


@torch.no_grad()
def logit_scale(model: Any) -> float:
    """Return the factor between head times state and logits (Granite divides, Cohere multiplies; 1 for most models).

    It is measured on one forward pass. If logits are capped (Gemma 2) or have a bias, this is the best-fitting factor.
    """
    ids = torch.tensor([[1, 2, 3]], device=model.get_input_embeddings().weight.device)
    head = model.get_output_embeddings().weight
    states = backbone(model)(input_ids=ids, use_cache=False).last_hidden_state
    plain = (states.to(head.dtype) @ head.T).float().flatten()
    logits = model(input_ids=ids, use_cache=False).logits.float().flatten()
    scale = float(plain @ logits / (plain @ plain).clamp_min(1e-9))
    return scale if abs(scale - 1.0) > 2e-2 else 1.0


def backbone(model: Any) -> Any:
    """Return the decoder of a causal language model, which outputs states after the final norm instead of logits."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    return decoder if decoder is not None and decoder is not model else model.base_model


@torch.no_grad()
def embed(model: Any, token_ids: list[int]) -> Tensor:
    """Return the embeddings of token ids after any embedding scale, [len(token_ids), d], float32."""
    embedding = model.get_input_embeddings()
    rows: Tensor = embedding(torch.tensor([token_ids], device=embedding.weight.device))[0]
    return rows.float() * outer_embedding_scale(model)


@torch.no_grad()
def embedding_rms(model: Any, sample: int = 4096) -> float:
    """Return the root mean square of the scaled embeddings, over an even sample of the vocabulary."""
    rows = int(model.get_input_embeddings().weight.shape[0])
    ids = torch.linspace(0, rows - 1, min(sample, rows)).long().tolist()
    return float(embed(model, ids).pow(2).mean().sqrt())


@torch.no_grad()
def highest_probability(model: Any, sequences: Iterable[Sequence[int]], ids: Sequence[int], begin: int = 0) -> float:
    """Return the highest probability that the head gives to any of some tokens, for example to placeholders in replies.

    Suppression in `generate` is not applied, because other engines do not have it.

    Args:
        model: The model.
        sequences: Token ids of chats with replies.
        ids: The tokens. Those beyond the head are left out.
        begin: The first position whose prediction counts.
    """
    highest = 0.0
    for sequence in sequences:
        given = torch.tensor([list(sequence)], device=model.get_input_embeddings().weight.device)
        logits = model(input_ids=given, use_cache=False).logits[0, begin:].float()
        chosen = logits.softmax(-1)[:, [i for i in ids if i < logits.shape[-1]]]
        highest = max(highest, float(chosen.max()) if chosen.numel() else 0.0)
    return highest
