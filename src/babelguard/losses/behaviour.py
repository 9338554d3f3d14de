"""L_b: the odds of a refusing against a helping first token (this project's own term, not of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def helping_log_odds(states: Tensor, helping_rows: Tensor, refusing_rows: Tensor) -> Tensor:
    """Log P(first token opens an answer) - log P(first token opens a refusal), among those tokens.

    Args:
        states: The state at the last token of the chat, [batch, d].
        helping_rows: Output embeddings of tokens that open answers, [a, d].
        refusing_rows: Output embeddings of tokens that open refusals, [r, d].

    Returns:
        The log-odds of each row, [batch].
    """
    return torch.logsumexp(states @ helping_rows.T, -1) - torch.logsumexp(states @ refusing_rows.T, -1)


def behaviour_loss(log_odds: Tensor, label: Tensor) -> Tensor:
    """Harmful queries must open with a refusal, harmless ones with an answer, in whatever language they are.

    Only the choice between refusing and answering is trained, never the words of an answer.

    Args:
        log_odds: from `helping_log_odds`, [batch].
        label: 0 for harmful, 1 for harmless, [batch].

    Returns:
        The loss of each row, [batch].
    """
    return F.binary_cross_entropy_with_logits(log_odds, label.to(log_odds.dtype), reduction="none")
