"""L_U, the residual loss: states do not change outside the safety space (MCD, arXiv 2505.11835)."""

from __future__ import annotations

from torch import Tensor

from babelguard.method.losses.base import Batch, Context, Loss, start_of


def residual_loss(change: Tensor, components: Tensor) -> Tensor:
    """Return the mean squared change outside the m directions of the safety space.

    L_U = ||(I - V V^T)(x_theta - x_0)||^2 / d = (||D||^2 - ||V^T D||^2) / d, because V has orthonormal columns. The d x d
    basis of the complement is not needed.

    Args:
        change: D = x_theta - x_0, [batch, d].
        components: V^T, orthonormal rows, [m, d].

    Returns:
        The loss of each row, [batch].
    """
    inside = change @ components.T
    return (change.pow(2).sum(-1) - inside.pow(2).sum(-1)) / change.shape[-1]


def _rows(batch: Batch, context: Context) -> Tensor:
    return residual_loss(batch.states - start_of(batch).states, context.space.components)


RESIDUAL = Loss("residual", "drift", 1e-3, _rows, needs_start_states=True)
