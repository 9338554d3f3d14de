"""L_m: the languages of one query are drawn together (MCD, arXiv 2505.11835)."""

from __future__ import annotations

from torch import Tensor


def live_alignment_loss(states: Tensor) -> Tensor:
    """The paper's formula: each language against the mean of the others, all of them moving.

    L_m = mean_i ||x^i - mean_{j != i} x^j||^2 / d. With x-bar the mean over all L languages this is
    (L / (L - 1))^2 times the mean squared distance to x-bar.

    Args:
        states: x_theta of the same queries in L languages, [L, batch, d], L >= 2.

    Returns:
        The loss of each row, [batch].

    Raises:
        ValueError: with fewer than two languages, where the loss says nothing.
    """
    count = states.shape[0]
    if count < 2:
        raise ValueError("the alignment loss needs the states of at least two languages")
    others = (states.sum(0, keepdim=True) - states) / (count - 1)
    return (states - others).pow(2).mean(-1).mean(0)


def frozen_alignment_loss(states: Tensor, target: Tensor) -> Tensor:
    """The released code's reading: the centre language against the frozen mean of the others under the written prompt.

    Args:
        states: x_theta of the centre language, [batch, d].
        target: mean over the other languages of x_0 of the same queries, [batch, d]; a constant.

    Returns:
        The loss of each row, [batch].
    """
    return (states - target).pow(2).mean(-1)
