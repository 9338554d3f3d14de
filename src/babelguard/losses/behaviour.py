"""L_b: a helping against a refusing first token (this project's own term, not of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# A greedy reply opens with the likeliest token, not with the likelier kind: refusals open with few words and answers with
# many, so by the sum of their probabilities a row may count as answered whose likeliest token is a refusal's.
TEMPERATURE = 0.25


def helping_margin(states: Tensor, helping_rows: Tensor, refusing_rows: Tensor) -> Tensor:
    """Logit of the likeliest first token of an answer less that of the likeliest first token of a refusal, softly.

    Args:
        states: The state at the last token of the chat, [batch, d].
        helping_rows: Output embeddings of tokens that open answers, [a, d].
        refusing_rows: Output embeddings of tokens that open refusals, [r, d].

    Returns:
        The margin of each row, [batch]; above 0 the reply opens as an answer does.
    """
    helping, refusing = (states @ rows.T / TEMPERATURE for rows in (helping_rows, refusing_rows))
    return TEMPERATURE * (torch.logsumexp(helping, -1) - torch.logsumexp(refusing, -1))


def behaviour_loss(margin: Tensor, label: Tensor) -> Tensor:
    """Harmful queries must open with a refusal, harmless ones with an answer, in whatever language they are.

    Only the choice between refusing and answering is trained, never the words of an answer.

    Args:
        margin: from `helping_margin`, [batch].
        label: 0 for harmful, 1 for harmless, [batch].

    Returns:
        The loss of each row, [batch].
    """
    return F.binary_cross_entropy_with_logits(margin, label.to(margin.dtype), reduction="none")
