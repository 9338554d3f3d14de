"""Run the shared prefix of a batch of chats once, then the suffix of each chat.

All chats of a step begin with the same tokens: the beginning of the template and the soft prompt. The prefix runs once at batch
size 1, its keys and values are expanded over the batch, and only the suffixes are run. Hidden states, losses and
gradients equal those of complete sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from babelguard.models.probes import backbone, blocks
from babelguard.models.sharding import is_sharded

KeyValues = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Prefix:
    """The shared beginning of a batch of chats.

    Attributes:
        token_ids: Its token ids.
        layers: Keys and values of every layer, each [1, heads, tokens, head size].
    """

    token_ids: list[int]
    layers: KeyValues

    def cache(self, batch: int) -> DynamicCache:
        """Return a new cache for `batch` rows that all see the prefix. Memory is copied only when tokens are appended."""
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1), index)
        return cache


def shared_prefix(chats: Sequence[Sequence[int]]) -> list[int]:
    """Return the longest common beginning of all chats that leaves each chat a suffix of at least one token."""
    shortest, longest = min(map(list, chats)), max(map(list, chats))
    limit = min(len(chat) for chat in chats) - 1
    length = next((k for k in range(limit) if shortest[k] != longest[k]), limit)
    return shortest[:length]


def split(chats: Sequence[Sequence[int]], prefix_ids: Sequence[int]) -> list[list[int]]:
    """Return the suffix of each chat after the prefix.

    Raises:
        ValueError: If a chat does not begin with the prefix, or nothing follows it.
    """
    length = len(prefix_ids)
    for chat in chats:
        if list(chat[:length]) != list(prefix_ids) or len(chat) <= length:
            raise ValueError("a chat does not begin with the shared prefix, or has no suffix")
    return [list(chat[length:]) for chat in chats]


def run_decoder(model: Any, cache: DynamicCache, layers: Sequence[int] = (), **inputs: Tensor) -> tuple[Tensor, ...]:
    """Return hidden states, each [batch, tokens, d]: those after the final norm, then those after each of the given layers.

    The cache is read and appended to.

    Args:
        model: A causal language model.
        cache: Keys and values of the tokens before.
        layers: Numbers of layers, counted from 1.
        inputs: Other inputs of the decoder.
    """
    decoder = backbone(model)
    # transformers renamed this argument in 5.24. Models with their own code may still use the old name.
    name = "cache" if "cache" in signature(decoder.forward).parameters else "past_key_values"
    with _recorded(model, layers) as found:
        last = decoder(**inputs, **{name: cache}, use_cache=True).last_hidden_state
    # As in transformers, the state after the last layer is that after the final norm.
    return (last, *(found.get(layer, last) for layer in layers))


@contextmanager
def _recorded(model: Any, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Record what layers return, except the last one. `output_hidden_states` does not work with sharded weights."""
    found: dict[int, Tensor] = {}

    def record(layer: int) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            found[layer] = output if isinstance(output, Tensor) else output[0]

        return hook

    known = blocks(model)
    hooks = [known[layer - 1].register_forward_hook(record(layer)) for layer in layers if layer < len(known)]
    try:
        yield found
    finally:
        for one in hooks:
            one.remove()


def run_prefix(model: Any, token_ids: list[int]) -> Prefix:
    """Run the prefix once at batch size 1. If gradients are enabled, they flow to the soft prompt through the cache."""
    # A cache without a configuration keeps all keys of sliding-window layers. The mask applies the window, so expanding
    # and appending are exact at any length.
    cache = DynamicCache()
    device = model.get_input_embeddings().weight.device
    if not token_ids:
        return Prefix(token_ids, [])
    (hidden,) = run_decoder(model, cache, input_ids=torch.tensor([token_ids], device=device))
    kept: list[Any] = list(cache.layers)
    layers = [(layer.keys, layer.values) for layer in kept]
    if is_sharded(model):
        # The backward pass gathers the weights of a block when it reaches the output of the block, which of the last block
        # nothing else depends on.
        keys, values = layers[-1]
        layers[-1] = keys + 0 * hidden.sum().to(keys.device), values
    return Prefix(token_ids, layers)


def run_suffixes(
    model: Any, prefix: Prefix, suffixes: Sequence[Sequence[int]], layers: Sequence[int] = ()
) -> tuple[tuple[Tensor, ...], DynamicCache]:
    """Run suffixes after the prefix, padded on the right.

    Returns:
        The hidden states of `run_decoder`, each [batch, tokens, d], and the cache.
    """
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
    inputs = {"input_ids": ids.to(device), "attention_mask": mask.to(device), "position_ids": positions}
    return run_decoder(model, cache, layers, **inputs), cache
