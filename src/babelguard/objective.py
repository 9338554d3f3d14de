"""The collaborative objective: from the states of a batch to one loss (MCD's total loss and its variants)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from babelguard import losses
from babelguard.config import Settings
from babelguard.space import SafetySpace


@dataclass(frozen=True)
class FirstTokens:
    """Output embeddings of tokens that open answers [a, d] and refusals [r, d]; see `babelguard.anchors.first_tokens`."""

    helping: Tensor
    refusing: Tensor


@dataclass(frozen=True)
class Batch:
    """The states of one step.

    Attributes:
        states: x_theta of the centre rows, [batch, d]; gradients flow through it.
        other_states: x_theta of the same queries in other languages, [k, batch, d], or None.
        base_states: x_0 of the centre rows under the written prompt, [batch, d].
        reference_states: x_0 whose logits L_r and L_h start from: the same rows, or their English twins, [batch, d].
        frozen_target: mean over the other languages of x_0, [batch, d].
        labels: 0 harmful, 1 harmless, [batch].
        language: index of each row's language, [batch].
    """

    states: Tensor
    other_states: Tensor | None
    base_states: Tensor
    reference_states: Tensor
    frozen_target: Tensor
    labels: Tensor
    language: Tensor


def row_losses(batch: Batch, space: SafetySpace, first: FirstTokens | None, settings: Settings) -> dict[str, Tensor]:
    """Every weighted term for every row, [batch] each; terms of weight 0 are left out."""
    terms: dict[str, Tensor] = {}
    if settings.refusal_weight:
        new, base = space.refusal_logit(batch.states), space.refusal_logit(batch.reference_states)
        terms["refusal"] = settings.refusal_weight * losses.refusal_loss(new, base, batch.labels)
    if settings.harmfulness_weight:
        new, base = space.harmfulness_logit(batch.states), space.harmfulness_logit(batch.reference_states)
        terms["harmfulness"] = settings.harmfulness_weight * losses.harmfulness_loss(new, base, batch.labels)
    if settings.residual_weight:
        change = batch.states - batch.base_states
        terms["residual"] = settings.residual_weight * losses.residual_loss(change, space.components)
    if settings.alignment == "live" and settings.alignment_weight and batch.other_states is not None:
        together = torch.cat([batch.states.unsqueeze(0), batch.other_states])
        terms["alignment"] = settings.alignment_weight * losses.live_alignment_loss(together)
    if settings.alignment == "frozen" and settings.alignment_weight:
        terms["alignment"] = settings.alignment_weight * losses.frozen_alignment_loss(batch.states, batch.frozen_target)
    if settings.behaviour_weight and first is not None:
        odds = losses.helping_margin(batch.states, first.helping, first.refusing)
        by_label = torch.where(batch.labels > 0.5, settings.harmless_weight, 1.0)
        terms["behaviour"] = settings.behaviour_weight * by_label * losses.behaviour_loss(odds, batch.labels)
    if settings.opening_weight and first is not None:
        kept = losses.opening_loss(batch.states, batch.base_states, first.helping)
        terms["opening"] = settings.opening_weight * batch.labels * kept
    return terms


def total_loss(terms: dict[str, Tensor], language: Tensor, language_weights: Tensor) -> Tensor:
    """Mean over rows, each weighted by its language's weight (mean 1 over languages)."""
    rows = torch.stack(list(terms.values())).sum(0)
    return (rows * language_weights[language]).mean()


def worst_language_weights(
    weights: Tensor, terms: dict[str, Tensor], language: Tensor, step_size: float = 0.1
) -> Tensor:
    """One step of group distributionally robust optimisation: languages of high loss gain weight.

    Args:
        weights: [L], mean 1.
        terms: from `row_losses`.
        language: index of each row's language, [batch].
        step_size: of the exponentiated gradient.

    Returns:
        The new weights, [L], mean 1; languages absent from the batch keep their share before normalisation.
    """
    rows = torch.stack([t.detach() for t in terms.values()]).sum(0)
    raised = weights.clone()
    for index in language.unique():
        raised[index] = raised[index] * torch.exp(step_size * rows[language == index].mean())
    return raised * (len(raised) / raised.sum())
