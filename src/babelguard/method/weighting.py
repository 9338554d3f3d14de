"""How training rows are weighted by language and label: equally, by the loss of each language, or by measured errors."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Weighting = Literal["mean", "worst", "errors"]

# Step size of the exponentiated gradient of "worst".
STEP_SIZE = 0.1
# "errors": decay of the moving average, the rate assumed at the start, and the rate that is added to every cell. Because of the
# last one, no weight is more than 1 + 1 / FLOOR times another.
DECAY, INITIAL, FLOOR = 0.8, 0.25, 0.1


def initial_state(weighting: Weighting, languages: int) -> Tensor:
    """Return the state before the first step, [L, 2]: equal weights, or the assumed error rates."""
    return torch.full((languages, 2), INITIAL if weighting == "errors" else 1.0)


def weights_of(weighting: Weighting, state: Tensor) -> Tensor:
    """Return the weight of each language and label, [L, 2], mean 1.

    Args:
        weighting: How rows are weighted.
        state: The weights for "worst", the error rates for "errors", [L, 2].
    """
    raised = state + FLOOR if weighting == "errors" else state
    return raised * (raised.numel() / raised.sum())


def raised_by_loss(state: Tensor, losses: Tensor, language: Tensor, step_size: float = STEP_SIZE) -> Tensor:
    """One step of group distributionally robust optimisation (group DRO, arXiv 1911.08731), for the weighting "worst".

    Languages with a high loss gain weight.

    Args:
        state: The weights, [L, 2].
        losses: The loss of each row, [batch].
        language: Index of each row's language, [batch].
        step_size: Step size of the exponentiated gradient.

    Returns:
        The new weights, [L, 2], mean 1. Languages that are not in the batch keep their weight before normalisation.
    """
    raised = state.clone()
    for index in language.unique():
        raised[index] = raised[index] * torch.exp(step_size * losses[language == index].mean())
    return raised * (raised.numel() / raised.sum())


def averaged_errors(state: Tensor, wrong: Tensor, language: Tensor, labels: Tensor) -> Tensor:
    """Update the moving averages of the error rates, for the weighting "errors".

    The weights then balance attack success and false refusal within each language, and the languages with each other.

    Args:
        state: Error rate of each language and label, [L, 2].
        wrong: Whether the reply to a row begins wrongly, [batch].
        language: Index of each row's language, [batch].
        labels: 0 harmful, 1 harmless, [batch].

    Returns:
        The new rates, [L, 2]. Cells without a row in the batch do not change.
    """
    rates = state.clone()
    for index in language.unique():
        for label in (0, 1):
            rows = (language == index) & (labels == label)
            if rows.any():
                rates[index, label] = DECAY * rates[index, label] + (1 - DECAY) * wrong[rows].float().mean()
    return rates
