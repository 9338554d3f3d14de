"""L_m as in the authors' released code: the target is constant."""

from __future__ import annotations

from torch import Tensor

from babelguard.method.losses.base import Batch, Context, Loss


def frozen_alignment_loss(states: Tensor, target: Tensor) -> Tensor:
    """Distance of the centre language to the constant mean of the other languages under the start prompt.

    Args:
        states: x_theta of the centre language, [batch, d].
        target: Mean over the other languages of x_0 of the same queries, [batch, d]; a constant.

    Returns:
        The loss of each row, [batch].
    """
    return (states - target).pow(2).mean(-1)


def _rows(batch: Batch, context: Context) -> Tensor:
    return frozen_alignment_loss(batch.states, batch.frozen_target)


FROZEN_ALIGNMENT = Loss("frozen_alignment", "alignment", 0.0, _rows)
