"""A LoRA adapter of rank 1 on all linear layers, as one vector of weights, so that babelguard's trainer can train it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer, cast_adapter_dtype
from torch import Tensor

from babelguard import engine
from babelguard.defences import Defence
from babelguard.method.trainable import Trainable

RANK = 1
# The output of an adapter is multiplied by ALPHA / RANK.
ALPHA = 2


class Adapter:
    """An adapter in a frozen model. The model runs without it, except within `active`.

    The attention and MLP layers are adapted, but not the output head. The weights are float32 for every dtype of the model.

    Args:
        model: The model, on one device. Its linear layers are wrapped in place.
        seed: Random seed of the start values.

    Attributes:
        start: The start values of all weights, [p], float32, on the CPU. With them, the adapter changes nothing.
    """

    def __init__(self, model: Any, seed: int) -> None:
        config = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inject_adapter_in_model(config, model)
        cast_adapter_dtype(model, "default")
        self.model = model.eval()
        self.layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.start = torch.cat([weight.detach().flatten() for weight in self.weights]).cpu()
        self._enable(False)

    @contextmanager
    def active(self, theta: Tensor) -> Iterator[None]:
        """Run the model with the adapter within a `with` block.

        Args:
            theta: Its weights, [p].
        """
        parts = theta.detach().split([weight.numel() for weight in self.weights])
        for weight, part in zip(self.weights, parts, strict=True):
            weight.data.copy_(part.view_as(weight))
        self._enable(True)
        try:
            yield
        finally:
            self._enable(False)

    def _enable(self, enabled: bool) -> None:
        """Enable or disable the adapter, and the gradients of its weights."""
        for layer in self.layers:
            layer.enable_adapters(enabled)


class LoraDefence(Defence):
    """The model with an adapter. Chats are rendered as without a prompt.

    Args:
        adapter: The adapter.
        theta: Its weights, [p].
        seed: Random seed of the training.
    """

    name = "lora"

    def __init__(self, adapter: Adapter, theta: Tensor, seed: int) -> None:
        self.adapter, self.theta, self.seed = adapter, theta, seed

    @property
    def digest(self) -> str:
        """Hash of the weights and of their scale."""
        weights = self.theta.detach().cpu().float().contiguous().numpy().tobytes()
        return hashlib.sha256(f"lora {RANK} {ALPHA} ".encode() + weights).hexdigest()[:16]

    def active(self, model: Any) -> AbstractContextManager[Any]:
        """Run the model with the adapter within a `with` block.

        Raises:
            ValueError: If the adapter belongs to another model.
        """
        if model is not self.adapter.model:
            raise ValueError("the adapter belongs to another model")
        return self.adapter.active(self.theta)


class AdapterPasses:
    """The forward and the backward pass of a training step; see `babelguard.method.passes.Passes`.

    Args:
        adapter: The adapter.
    """

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter

    def forward(
        self, theta: Tensor, prefix_ids: list[int], suffixes: Sequence[Sequence[int]], layer: int | None
    ) -> Tensor:
        """Run the chats of a step; see `Passes.forward`."""
        model = self.adapter.model
        # The adapter stays active until the backward pass, because disabling it would turn off its gradients.
        self._active = ExitStack()
        self._active.enter_context(self.adapter.active(theta))
        prefix = engine.run_prefix(model, prefix_ids)
        layers = () if layer is None else (layer,)
        self._states = engine.states_at_layers(model, prefix, suffixes, layers).float()
        return self._states.detach().requires_grad_()

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the weights, [p]; see `Passes.backward`."""
        with self._active:
            found = torch.autograd.grad(self._states, self.adapter.weights, gradient)
        return torch.cat([one.flatten() for one in found])


def trainable_adapter(adapter: Adapter, learning_rate: float, seed: int) -> Trainable:
    """Return what babelguard's trainer needs to train an adapter.

    Args:
        adapter: The adapter.
        learning_rate: Learning rate of AdamW.
        seed: Random seed of the training.
    """
    return Trainable(
        noun="adapter",
        title=f"a LoRA adapter of rank {RANK}, {len(adapter.start)} weights",
        theta=adapter.start,
        defence=LoraDefence(adapter, adapter.start, seed),
        with_theta=lambda theta: LoraDefence(adapter, theta, seed),
        passes=AdapterPasses(adapter),
        step_size=learning_rate,
    )
