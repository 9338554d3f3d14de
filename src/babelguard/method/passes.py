"""The forward and the backward pass of a training step, split over the processes of a run.

The states of all rows come together in the leading process, which computes the losses and the gradient of the states. Each
process then continues the backward pass through its own rows. The sum of the gradients of theta is therefore that of one
process, whatever the losses compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from babelguard import engine, parallel
from babelguard.prompt.hook import soft_prompt

# Theta and the states of this process's rows, between the two passes of a step.
_OPEN: WeakKeyDictionary[Any, tuple[Tensor, Tensor]] = WeakKeyDictionary()


class Passes(Protocol):
    """The forward and the backward pass of a step with theta, the tensor that is trained."""

    def forward(
        self, theta: Tensor, prefix_ids: list[int], suffixes: Sequence[Sequence[int]], layer: int | None
    ) -> Tensor:
        """Run the chats of a step.

        Args:
            theta: The trained tensor, float32.
            prefix_ids: The tokens that all chats begin with.
            suffixes: Token ids of the rest of each chat.
            layer: A layer besides the last one, counted from 1, or None.

        Returns:
            The states at the last token of each chat, after the final norm and at the layer, [1 or 2, chats, d], float32. A
            leaf that requires a gradient, for `backward`.
        """
        ...

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of theta, in its shape.

        Args:
            gradient: The gradient of the loss with respect to the states of the last `forward`, in their shape.
        """
        ...


@dataclass(frozen=True)
class PromptPasses:
    """The passes with a soft prompt, [n, d].

    Attributes:
        model: The frozen model.
        token_ids: The placeholder ids.
    """

    model: Any
    token_ids: tuple[int, ...]

    def forward(
        self, theta: Tensor, prefix_ids: list[int], suffixes: Sequence[Sequence[int]], layer: int | None
    ) -> Tensor:
        """Run the chats of a step; see `Passes.forward`."""
        layers = () if layer is None else (layer,)
        shares = parallel.lead(_forward_share, self.model, theta.detach(), self.token_ids, prefix_ids, suffixes, layers)
        states = shares[0] if len(shares) == 1 else torch.cat(shares, dim=1).to(theta.device)
        return states.requires_grad_()

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of theta, [n, d]; see `Passes.backward`."""
        shares = parallel.lead(_backward_share, self.model, gradient)
        whole: Tensor = shares[0] if len(shares) == 1 else torch.stack(shares).sum(0).to(gradient.device)
        return whole


def _forward_share(
    model: Any,
    theta: Tensor,
    token_ids: tuple[int, ...],
    prefix_ids: list[int],
    suffixes: Sequence[Sequence[int]],
    layers: tuple[int, ...],
) -> Tensor:
    """Run this process's share of the chats, and keep what the backward pass needs."""
    theta = theta.to(model.get_input_embeddings().weight.device).requires_grad_()
    with soft_prompt(model, theta, token_ids):
        prefix = engine.run_prefix(model, prefix_ids)
        states = engine.share_of_states(model, prefix, suffixes, layers).float()
    _OPEN[model] = theta, states
    return states.detach()


def _backward_share(model: Any, gradient: Tensor) -> Tensor:
    """Return the gradient of theta from this process's share of the chats."""
    theta, states = _OPEN.pop(model)
    if states.requires_grad:  # not without chats
        states.backward(gradient[:, parallel.share(gradient.shape[1])].to(states.device))
    return torch.zeros_like(theta) if theta.grad is None else theta.grad
