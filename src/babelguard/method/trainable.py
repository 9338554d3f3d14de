"""What a run trains: one tensor theta, the passes that compute its gradient, and the defence that it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from babelguard.defences import Defence, SoftDefence
from babelguard.method.passes import Passes, PromptPasses
from babelguard.models.probes import embedding_rms


@dataclass(frozen=True)
class Trainable:
    """A tensor to train: a soft prompt, or in experiments the weights of an adapter.

    Attributes:
        noun: What it is called in messages.
        title: The same with its size, for the progress display.
        theta: The start values, float32, on the CPU.
        defence: The defence with the start values. It renders the training rows.
        with_theta: Returns the defence with other values.
        passes: The forward and the backward pass of a step.
        step_size: Learning rate of AdamW, in the scale of theta.
    """

    noun: str
    title: str
    theta: Tensor
    defence: Defence
    with_theta: Callable[[Tensor], Defence]
    passes: Passes
    step_size: float

    @classmethod
    def prompt(cls, soft: SoftDefence, model: Any, learning_rate: float, seed: int) -> Self:
        """Train a soft prompt.

        Args:
            soft: The soft prompt before training.
            model: The frozen model.
            learning_rate: Learning rate, relative to the root mean square of the model's embeddings.
            seed: Random seed of the training.
        """
        return cls(
            noun="prompt",
            title=f"{len(soft.theta)} soft tokens",
            theta=soft.theta,
            defence=soft,
            with_theta=lambda theta: soft.with_theta(theta, seed),
            passes=PromptPasses(model, soft.slot.token_ids),
            step_size=learning_rate * embedding_rms(model),
        )
