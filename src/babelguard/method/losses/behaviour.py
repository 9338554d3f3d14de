"""L_b, the behaviour loss: the first token of a reply refuses or answers, in the language of the request (babelguard's own)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from babelguard.method.losses.base import Batch, Context, FirstTokens, Loss, first_tokens_of

# Greedy decoding takes the single most likely token. Refusals begin with few different tokens and answers with many, so the
# sum of probabilities can favour answers although the most likely token begins a refusal. A low temperature avoids that.
TEMPERATURE = 0.25


def right_margin(states: Tensor, tokens: FirstTokens, labels: Tensor, language: Tensor) -> Tensor:
    """Return the logit difference between the most likely right token and the most likely wrong one.

    The right tokens of a harmful query begin refusals in its language, and those of a harmless query begin answers in its
    language. All other tokens that begin answers or refusals are wrong, except that tokens which begin both do not matter for a
    harmless query. Therefore an answer or a refusal in another language is wrong, too. The maximum is smooth (logsumexp with a
    temperature).

    Args:
        states: The state at the last token of the chat, [batch, d].
        tokens: The tokens that begin answers and refusals.
        labels: 0 harmful, 1 harmless, [batch].
        language: Index of each row's language, [batch].

    Returns:
        The margin of each row, [batch]. If it is positive, the reply begins as it should.
    """
    answers, refuses = (
        torch.ones(len(labels), len(rows), dtype=torch.bool, device=states.device) if known is None else known[language]
        for rows, known in ((tokens.answering, tokens.answers_in), (tokens.refusing, tokens.refuses_in))
    )
    harmless = (labels > 0.5)[:, None]
    right = torch.cat([answers & harmless, refuses & ~harmless], -1)
    wrong = ~right
    if tokens.neutral_in is not None:
        wrong[:, : len(tokens.answering)] &= ~(tokens.neutral_in[language] & harmless)
    logits = states @ torch.cat([tokens.answering, tokens.refusing]).T / TEMPERATURE
    best_right, best_wrong = (
        torch.logsumexp(logits.masked_fill(~chosen, float("-inf")), -1) for chosen in (right, wrong)
    )
    return TEMPERATURE * (best_right - best_wrong)


def behaviour_loss(margin: Tensor) -> Tensor:
    """Make replies to harmful queries begin with a refusal, and replies to harmless queries with an answer.

    Only the choice of the first token is trained, not the words of an answer.

    Args:
        margin: From `right_margin`, [batch].

    Returns:
        The loss of each row, -log of the logistic function of the margin, [batch].
    """
    return F.softplus(-margin)


def _rows(batch: Batch, context: Context) -> Tensor:
    margin = right_margin(batch.last_states, first_tokens_of(context), batch.labels, batch.language)
    by_label = torch.where(batch.labels > 0.5, context.harmless_weight, 1.0)
    return by_label * behaviour_loss(margin)


BEHAVIOUR = Loss("behaviour", "first token", 0.0, _rows, needs_first_tokens=True, teaches_refusal=True)
