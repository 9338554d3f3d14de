"""A model without its weights: its structure, and the scales of its embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from babelguard.errors import UserError
from babelguard.models.probes import backbone, embed, outer_embedding_scale
from babelguard.models.quiet import quiet


@contextmanager
def _without_weights() -> Iterator[None]:
    """Put new parameters on the device `meta`, which stores nothing. Buffers, such as embedding scales, are computed."""
    register = nn.Module.register_parameter

    def empty(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        kept = None if param is None else nn.Parameter(torch.empty_like(param, device="meta"), requires_grad=False)
        register(module, name, kept)

    nn.Module.register_parameter = empty  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def skeleton(config: Any, name: str, *, trust_remote_code: bool = False) -> Any:
    """Build the model of a configuration without weights. It takes seconds and little memory for models of any size.

    Args:
        config: The configuration.
        name: The name of the model in messages.
        trust_remote_code: Allow model code from the hub to run.

    Raises:
        UserError: If transformers has no causal language model for this configuration.
    """
    try:
        with quiet(), _without_weights():
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code).eval()
    except Exception as error:  # the code of a model can raise anything
        why = " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(
            f"The architecture of {name} ({config.model_type}) cannot be exported ({type(error).__name__}: {why}); choose a "
            "model that transformers loads as a causal language model."
        ) from error


class Scales(NamedTuple):
    """Factors on the way from the embedding table to the first decoder block. Gemma and Granite have one.

    Attributes:
        whole: The factor between a row of the table and the input of the first decoder block.
        outer: The part of it that is applied after the embedding module.
    """

    whole: float
    outer: float


@torch.no_grad()
def embedding_scales(model: Any, dtype: torch.dtype) -> Scales:
    """Measure the factors of a model. They depend on the dtype, because Gemma rounds its factor to that of the table.

    Args:
        model: A model, with weights or without. Its embedding table becomes one of four rows.
        dtype: Dtype of the model when it runs.
    """
    embedding = model.get_input_embeddings()
    place = torch.device("cpu") if embedding.weight.is_meta else embedding.weight.device
    ones = torch.ones(4, embedding.weight.shape[1], dtype=dtype, device=place)
    embedding.weight = nn.Parameter(ones, requires_grad=False)
    embedding.padding_idx = None
    for module in _outside_blocks(backbone(model)):
        for name, value in list(module.named_parameters(recurse=False)):
            if value.is_meta:
                setattr(module, name, nn.Parameter(torch.zeros(value.shape, dtype=dtype), requires_grad=False))
    return Scales(float(embed(model, [1, 2]).mean()), outer_embedding_scale(model))


def _outside_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules that run before the first decoder block. Blocks are in a ModuleList."""
    yield module
    for child in module.children():
        if not isinstance(child, nn.ModuleList):
            yield from _outside_blocks(child)
