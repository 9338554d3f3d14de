"""Properties of a model that are measured instead of looked up by its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

# The scale of the embeddings is measured once per model: a training step needs it, and should not wait for the device.
_SCALES: WeakKeyDictionary[Any, float] = WeakKeyDictionary()


class _FirstBlockReached(Exception):
    """Ends the forward pass of a probe when it reaches the first decoder block."""


def blocks(model: Any) -> list[nn.Module]:
    """Return the decoder blocks of a model, or nothing if they are not found."""
    return next((list(m) for m in backbone(model).modules() if isinstance(m, nn.ModuleList) and len(m) > 0), [])


def outer_embedding_scale(model: Any) -> float:
    """Return the factor that a model applies to embeddings AFTER the embedding module (Granite; 1 for most models).

    Gemma scales inside the module, where a forward hook already sees scaled rows. The factor is measured by comparing
    the input of the first decoder block with the output of the embedding module.
    """
    if model not in _SCALES:
        _SCALES[model] = _measured_scale(model)
    return _SCALES[model]


@torch.no_grad()
def _measured_scale(model: Any) -> float:
    decoder, layers = backbone(model), blocks(model)
    if not layers:
        return 1.0
    seen: dict[str, Tensor] = {}

    def embedded(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        seen["embedding"] = output.float().cpu()

    def entered(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        hidden = inputs[0] if inputs else keywords["hidden_states"]
        seen["block"] = hidden.float().cpu()
        raise _FirstBlockReached

    embedding = model.get_input_embeddings()
    handles = [
        embedding.register_forward_hook(embedded),
        # First, so that a sharded block is not gathered for it.
        layers[0].register_forward_pre_hook(entered, with_kwargs=True, prepend=True),
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
    plain = (states.to(head.device, head.dtype) @ head.T).float().flatten()
    logits = model(input_ids=ids, use_cache=False).logits.to(head.device).float().flatten()
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
