"""L_m, the alignment loss: states of one query in several languages approach each other (MCD, arXiv 2505.11835)."""

from __future__ import annotations

import torch
from torch import Tensor

from babelguard.method.losses.base import Batch, Context, Loss


def alignment_loss(states: Tensor) -> Tensor:
    """Return the squared distance of each language to the mean of the others, as in the formula of the paper.

    L_m = mean_i ||x^i - mean_{j != i} x^j||^2 / d. With x-bar as the mean over all L languages, this equals
    (L / (L - 1))^2 times the mean squared distance to x-bar. Gradients reach all languages.

    Args:
        states: x_theta of the same queries in L languages, [L, batch, d], L >= 2.

    Returns:
        The loss of each row, [batch].

    Raises:
        ValueError: If there are fewer than two languages.
    """
    count = states.shape[0]
    if count < 2:
        raise ValueError("the alignment loss needs the states of at least two languages")
    others = (states.sum(0, keepdim=True) - states) / (count - 1)
    return (states - others).pow(2).mean(-1).mean(0)


def _rows(batch: Batch, context: Context) -> Tensor:
    if batch.other_states is None:
        raise ValueError("the alignment loss needs the states of at least two languages")
    return alignment_loss(torch.cat([batch.states.unsqueeze(0), batch.other_states]))


ALIGNMENT = Loss("alignment", "alignment", 1e-3, _rows, needs_other_languages=True)
