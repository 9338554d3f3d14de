"""L_b, the behaviour loss: the first token of a reply refuses or answers (babelguard's own, not in the paper)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from babelguard.method.losses.base import Batch, Context, Loss, first_tokens_of

# Greedy decoding takes the single most likely token. Refusals begin with few different tokens and answers with many, so the
# sum of probabilities can favour answers although the most likely token begins a refusal. A low temperature avoids that.
TEMPERATURE = 0.25


def answer_margin(states: Tensor, answering_rows: Tensor, refusing_rows: Tensor) -> Tensor:
    """Return the logit difference between the most likely token that begins an answer and the one that begins a refusal.

    The maximum is smooth (logsumexp with a temperature).

    Args:
        states: The state at the last token of the chat, [batch, d].
        answering_rows: Output embeddings of tokens that begin answers, [a, d].
        refusing_rows: Output embeddings of tokens that begin refusals, [r, d].

    Returns:
        The margin of each row, [batch]. If it is positive, the reply begins like an answer.
    """
    answering, refusing = (states @ rows.T / TEMPERATURE for rows in (answering_rows, refusing_rows))
    return TEMPERATURE * (torch.logsumexp(answering, -1) - torch.logsumexp(refusing, -1))


def behaviour_loss(margin: Tensor, label: Tensor) -> Tensor:
    """Make replies to harmful queries begin with a refusal, and replies to harmless queries with an answer.

    Only the choice between refusing and answering is trained, not the words of an answer.

    Args:
        margin: From `answer_margin`, [batch].
        label: 0 harmful, 1 harmless, [batch].

    Returns:
        The loss of each row, [batch].
    """
    return F.binary_cross_entropy_with_logits(margin, label.to(margin.dtype), reduction="none")


def _rows(batch: Batch, context: Context) -> Tensor:
    first = first_tokens_of(context)
    margin = answer_margin(batch.last_states, first.answering, first.refusing)
    by_label = torch.where(batch.labels > 0.5, context.harmless_weight, 1.0)
    return by_label * behaviour_loss(margin, batch.labels)


BEHAVIOUR = Loss("behaviour", "first token", 0.0, _rows, needs_first_tokens=True, teaches_refusal=True)
