"""Insert the soft prompt into a running model with two hooks on its input embedding.

The model still receives token ids, so the same mechanism works for training, `generate`, padding and caches. The hook
before the embedding replaces placeholder ids by a valid id. The hook after it writes the rows of theta at their
positions. A third hook, on the whole model, can tell if a chat begins without the prompt.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from babelguard.errors import UserError
from babelguard.models.probes import outer_embedding_scale

UNDEFENDED_INPUT = (
    "The protected model was given the beginning of a chat that does not contain the safety prompt exactly once, so its reply "
    "is undefended; render chats with the tokenizer that `protect` returned."
)
# Names of the cache among the arguments of transformers' models.
_CACHES = ("past_key_values", "cache")


class SoftPromptHook:
    """Replaces the embeddings of the placeholder ids by theta. The weights of the model are not changed.

    Args:
        model: A causal language model of transformers.
        theta: The soft prompt, [n, d], float32, on the scale of the first decoder block's input. A parameter during
            training.
        token_ids: The n placeholder ids, all different.
        missing: What to do if the model, in evaluation mode, is given the beginning of a chat without the prompt: nothing,
            warn once, or raise a UserError.

    Raises:
        ValueError: If the shape of theta does not fit, or an id occurs twice.
    """

    def __init__(
        self,
        model: Any,
        theta: Tensor,
        token_ids: tuple[int, ...],
        *,
        missing: Literal["ignore", "warn", "raise"] = "ignore",
    ) -> None:
        embedding = model.get_input_embeddings()
        width = int(embedding.weight.shape[1])
        if theta.ndim != 2 or theta.shape[0] != len(token_ids) or theta.shape[1] != width:
            raise ValueError(f"theta is {tuple(theta.shape)}, expected ({len(token_ids)}, {width})")
        if len(set(token_ids)) != len(token_ids):
            raise ValueError("the placeholder ids are not all different")
        self.theta = theta
        self.enabled = True
        self.outer_scale = outer_embedding_scale(model)
        self.token_ids, self.missing = token_ids, missing
        self.ids = torch.tensor(token_ids, device=embedding.weight.device)
        self.valid_id = 0
        # The placeholders so far, per row, if the beginning of the chats ended within the prompt (chunked prefill).
        self._begun: list[list[int]] | None = None
        self._where: Tensor | None = None
        self._index: Tensor | None = None
        self._handles = [
            embedding.register_forward_pre_hook(self._before),
            embedding.register_forward_hook(self._after),
        ]
        if missing != "ignore":
            self._handles.append(model.register_forward_pre_hook(self._watch, with_kwargs=True))

    def _watch(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Look for the prompt in the input of a model, if it is the beginning of chats. Only then is the device waited for."""
        token_ids = named.get("input_ids", inputs[0] if inputs else None)
        if not self.enabled or self.missing == "ignore" or module.training or not isinstance(token_ids, Tensor):
            return
        if torch.compiler.is_compiling():
            return
        begins = _begins(token_ids, named)
        if not begins and self._begun is None:
            return
        rows, wanted = token_ids.tolist(), list(self.token_ids)
        before = [[] for _ in rows] if begins or self._begun is None else self._begun
        self._begun = None
        if len(before) != len(rows):  # other chats
            return
        found = [so_far + [i for i in row if i in wanted] for so_far, row in zip(before, rows, strict=True)]
        if all(one == wanted for one in found):
            return
        # Rows with more padding in front reach the prompt later.
        more = _cache_of(named) is not None and any(found) and (begins or token_ids.shape[1] > 1)
        if more and all(
            one in ([], wanted) or (one == wanted[: len(one)] and row[-1] in wanted)
            for one, row in zip(found, rows, strict=True)
        ):
            self._begun = found
            return
        if self.missing == "raise":
            raise UserError(UNDEFENDED_INPUT)
        self.missing = "ignore"  # one warning is enough
        warnings.warn(UNDEFENDED_INPUT, stacklevel=2)

    def _before(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self.enabled:
            return inputs
        token_ids = inputs[0]
        match = token_ids.unsqueeze(-1) == self.ids.to(token_ids.device)  # [batch, time, n]
        where = match.any(-1)
        # On an accelerator, looking at the result would wait for it, in every decoding step.
        self._where = None if where.device.type == "cpu" and not bool(where.any()) else where
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
        """Remove all hooks from the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _cache_of(named: dict[str, Any]) -> Any:
    return next((named[name] for name in _CACHES if named.get(name) is not None), None)


def _begins(token_ids: Tensor, named: dict[str, Any]) -> bool:
    """Whether token ids, [batch, time], are the beginning of chats: nothing is cached. Never waits in a decoding step."""
    cache = _cache_of(named)
    if cache is None:
        return True
    length = cache.get_seq_length() if hasattr(cache, "get_seq_length") else 1
    if isinstance(length, Tensor):  # a static cache keeps its length on the device
        return token_ids.shape[1] > 1 and int(length) == 0
    return bool(length == 0)


@contextmanager
def soft_prompt(model: Any, theta: Tensor, token_ids: tuple[int, ...]) -> Iterator[SoftPromptHook]:
    """Insert the soft prompt into the model within a `with` block."""
    hook = SoftPromptHook(model, theta, token_ids)
    try:
        yield hook
    finally:
        hook.remove()
