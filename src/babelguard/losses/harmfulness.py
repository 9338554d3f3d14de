"""L_h: the harmfulness loss (MCD, arXiv 2505.11835; DRO's equation for the harmfulness direction)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def harmfulness_loss(new_logit: Tensor, base_logit: Tensor, label: Tensor) -> Tensor:
    """Harmful queries must look more harmful to the model than under the written prompt, harmless ones less.

    L_h = BCE(sigmoid(f_h(x_theta) - f_h(x_0)), l)

    Args:
        new_logit: f_h(x_theta), the harmlessness logit under the soft prompt, [batch].
        base_logit: f_h(x_0), the same under the written prompt, [batch]; a constant.
        label: 0 for harmful, 1 for harmless, [batch].

    Returns:
        The loss of each row, [batch].
    """
    return F.binary_cross_entropy_with_logits(new_logit - base_logit, label.to(new_logit.dtype), reduction="none")
