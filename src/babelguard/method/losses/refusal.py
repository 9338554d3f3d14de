"""L_r, the refusal loss (MCD, arXiv 2505.11835; DRO, arXiv 2401.18018)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from babelguard.method.losses.base import Batch, Context, Loss, start_of


def refusal_loss(new_logit: Tensor, base_logit: Tensor, label: Tensor) -> Tensor:
    """Make harmful queries less compliant than under the start prompt, and harmless queries more compliant.

    L_r = BCE(sigmoid(f_r(x_theta) - f_r(x_0)), l)

    Args:
        new_logit: f_r(x_theta), the compliance logit under the soft prompt, [batch].
        base_logit: f_r(x_0), the compliance logit under the start prompt, [batch]; a constant.
        label: 0 harmful, 1 harmless, [batch].

    Returns:
        The loss of each row, [batch].
    """
    return F.binary_cross_entropy_with_logits(new_logit - base_logit, label.to(new_logit.dtype), reduction="none")


def _rows(batch: Batch, context: Context) -> Tensor:
    new, base = (context.space.compliance_logit(x) for x in (batch.states, start_of(batch).reference))
    return refusal_loss(new, base, batch.labels)


REFUSAL = Loss("refusal", "refusal", 1.0, _rows, needs_start_states=True, teaches_refusal=True)
