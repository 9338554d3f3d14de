"""L_r: the refusal loss (MCD, arXiv 2505.11835; DRO's equation for the refusal direction)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def refusal_loss(new_logit: Tensor, base_logit: Tensor, label: Tensor) -> Tensor:
    """Harmful queries must become less compliant than under the written prompt, harmless ones more.

    L_r = BCE(sigmoid(f_r(x_theta) - f_r(x_0)), l)

    Args:
        new_logit: f_r(x_theta), the compliance logit under the soft prompt, [batch].
        base_logit: f_r(x_0), the compliance logit under the written prompt, [batch]; a constant.
        label: 0 for harmful, 1 for harmless, [batch].

    Returns:
        The loss of each row, [batch].
    """
    return F.binary_cross_entropy_with_logits(new_logit - base_logit, label.to(new_logit.dtype), reduction="none")
