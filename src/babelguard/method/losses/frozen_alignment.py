"""L_m as in the released code of MCD (arXiv 2505.11835): the target is constant."""

from __future__ import annotations

from torch import Tensor

from babelguard.method.losses.base import Batch, Context, Loss, start_of


def frozen_alignment_loss(states: Tensor, target: Tensor) -> Tensor:
    """Return the squared distance of the centre language to the mean of the others under the start prompt.

    L = ||x_theta - target||^2 / d

    Args:
        states: x_theta of the centre language, [batch, d].
        target: Mean over the other languages of x_0 of the same queries, [batch, d]; a constant.

    Returns:
        The loss of each row, [batch].
    """
    return (states - target).pow(2).mean(-1)


def _rows(batch: Batch, context: Context) -> Tensor:
    return frozen_alignment_loss(batch.states, start_of(batch).frozen_target)


FROZEN_ALIGNMENT = Loss("frozen_alignment", "alignment", 0.0, _rows, needs_start_states=True)
