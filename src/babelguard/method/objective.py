"""The collaborative objective: the weighted sum of the losses (MCD, arXiv 2505.11835, and variants)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from babelguard.errors import UserError
from babelguard.method.losses import LOSSES, Batch, Context, Loss


def resolve_weights(given: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of every loss: the given one, or its default.

    Raises:
        UserError: If a name is not that of a loss.
    """
    known = {loss.name: loss.weight for loss in LOSSES}
    if unknown := sorted(given.keys() - known.keys()):
        raise UserError(f"There is no loss '{unknown[0]}' (`objective.weights`); available: {', '.join(known)}.")
    return known | dict(given)


def check_weights(weights: Mapping[str, float], languages: int) -> None:
    """Check that the losses train a prompt to refuse or answer.

    Args:
        weights: Weight of every loss.
        languages: Number of training languages.

    Raises:
        UserError: If no loss depends on the labels, or one needs more languages.
    """
    active = active_losses(weights)
    if languages < 2 and (alone := [loss.name for loss in active if loss.needs_other_languages]):
        raise UserError(
            f"The loss '{alone[0]}' needs at least two training languages; add one to `data.languages`, or set its weight in "
            "`objective.weights` to 0."
        )
    if not any(loss.teaches_refusal for loss in active):
        names = ", ".join(loss.name for loss in LOSSES if loss.teaches_refusal)
        raise UserError(
            "All losses that train refusals have the weight 0, so nothing would be learned; set one of "
            f"{names} in `objective.weights`."
        )


def active_losses(weights: Mapping[str, float]) -> list[Loss]:
    """Return the losses whose weight is not 0."""
    return [loss for loss in LOSSES if weights.get(loss.name)]


def needs_other_languages(weights: Mapping[str, float]) -> bool:
    """Whether a step must also run its queries in other languages."""
    return any(loss.needs_other_languages for loss in active_losses(weights))


def needs_first_tokens(weights: Mapping[str, float]) -> bool:
    """Whether a loss depends on the tokens that begin answers and refusals."""
    return any(loss.needs_first_tokens for loss in active_losses(weights))


def needs_start_states(weights: Mapping[str, float]) -> bool:
    """Whether a loss compares states with those under the start prompt."""
    return any(loss.needs_start_states for loss in active_losses(weights))


def needs_plain_states(weights: Mapping[str, float]) -> bool:
    """Whether a loss compares states with those without a prompt."""
    return any(loss.needs_plain_states for loss in active_losses(weights))


def row_losses(batch: Batch, context: Context, weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Compute every active loss, weighted, for every row.

    Returns:
        Loss name to a tensor of shape [batch].
    """
    return {
        loss.name: weights[loss.name] * loss.per_row(batch, context)
        for loss in active_losses(weights)
        if loss.applies(batch, context)
    }


def total_loss(terms: Mapping[str, Tensor], language: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over rows of the sum of all terms, weighted by language and label. A scalar.

    Args:
        terms: From `row_losses`, [batch] each.
        language: Index of each row's language, [batch].
        labels: 0 harmful, 1 harmless, [batch].
        weights: Weight of each language and label, [L, 2], mean 1.
    """
    rows = torch.stack(list(terms.values())).sum(0)
    return (rows * weights[language, labels.long()]).mean()
