"""Find the embedding table and the output head among the stored tensors of a model, whose names differ from those in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from babelguard.errors import UserError
from babelguard.models.probes import backbone
from babelguard.models.stored import FORMATS, StoredWeights


@dataclass(frozen=True)
class StoredTable:
    """The embedding table and the head of a model on disk.

    Attributes:
        weights: The tensors of the model.
        name: Stored name of the embedding table.
        prefix: What the stored names of the decoder's parameters begin with.
        head: Stored name of the output head, or the one that it would have if it had weights of its own.
        module: Name of the embedding module in a model in memory, such as model.embed_tokens.
    """

    weights: StoredWeights
    name: str
    prefix: str
    head: str
    module: str

    @property
    def tied(self) -> bool:
        """Whether the head has no weights of its own and uses the embedding table."""
        stem = self.head.removesuffix("weight")
        return not any(name.startswith(stem) for name in self.weights.entries)

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.weights.entries[self.name].shape[0]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.weights.entries[self.name].shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the embedding table."""
        return FORMATS[self.weights.entries[self.name].form]

    def read(self, name: str) -> Tensor | None:
        """Read a parameter of the decoder by its name in memory. None if it is stored under another name or packed."""
        key = self.prefix + name
        entry = self.weights.entries.get(key)
        return self.weights.read(key) if entry is not None and entry.form in FORMATS else None


def find_table(model: Any, weights: StoredWeights, name: str) -> StoredTable:
    """Find the embedding table of a model.

    Args:
        model: The model without weights.
        weights: Its stored tensors.
        name: The name of the model in messages.

    Raises:
        UserError: If it is not found, or does not hold plain numbers, or the model has no output head.
    """
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    if head is None or getattr(head, "weight", None) is None:
        raise UserError(
            f"{name} has no output head of its own (type '{model.config.model_type}') and cannot be exported."
        )
    names = {id(value): key for key, value in model.named_parameters(remove_duplicate=False)}
    whole, head_name = names[id(table)], names[id(head.weight)]
    inner = next((key for key, value in backbone(model).named_parameters() if value is table), None) or whole
    found = [whole] if whole in weights.entries else [key for key in weights.entries if f".{key}".endswith(f".{inner}")]
    matching = [key for key in found if len(weights.entries[key].shape) == 2]
    fitting = [key for key in matching if weights.entries[key].shape[1] == table.shape[1]]
    if not fitting:
        raise UserError(
            f"The embedding table of {name} ({whole}, {table.shape[0]} x {table.shape[1]}) is not among its stored weights, so "
            "this model cannot be exported; save it again with a current version of transformers."
        )
    stored = min(fitting, key=len)
    if weights.entries[stored].form not in FORMATS:
        raise UserError(
            f"The embedding table of {name} is quantised ({weights.entries[stored].form}), so a soft prompt cannot be written "
            "into it; export from the model without quantisation, and quantise the result."
        )
    return StoredTable(
        weights, stored, stored.removesuffix(inner), _head(stored, whole, head_name, weights), _module(whole)
    )


def _module(parameter: str) -> str:
    return parameter.removesuffix(".weight")


def _head(stored: str, whole: str, name: str, weights: StoredWeights) -> str:
    """Return the stored name of the head. Older checkpoints of models that see images have other prefixes than the model."""
    if stored == whole or name in weights.entries:
        return name
    last = ".".join(name.split(".")[-2:])
    known = [key for key in weights.entries if f".{key}".endswith(f".{last}")]
    if known:
        return min(known, key=len)
    # language_model.model.embed_tokens.weight has its head in language_model.lm_head.weight
    before, inside, _ = stored.rpartition("model.embed_tokens.weight")
    return before + last if inside else name
