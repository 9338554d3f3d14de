"""L_U: everything outside the safety space stays where it was (MCD, arXiv 2505.11835)."""

from __future__ import annotations

from torch import Tensor


def residual_loss(change: Tensor, components: Tensor) -> Tensor:
    """Mean squared change outside the m directions of the safety space.

    L_U = ||(I - V V^T)(x_theta - x_0)||^2 / d = (||D||^2 - ||V^T D||^2) / d, since V has orthonormal columns; the
    d x d basis of the complement is never built.

    Args:
        change: D = x_theta - x_0, [batch, d].
        components: V^T, orthonormal rows, [m, d].

    Returns:
        The loss of each row, [batch].
    """
    inside = change @ components.T
    return (change.pow(2).sum(-1) - inside.pow(2).sum(-1)) / change.shape[-1]
