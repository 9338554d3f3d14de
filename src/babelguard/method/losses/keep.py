"""L_k, the keep loss: harmless requests are answered as they are without a prompt (babelguard's own, not in the paper)."""

from __future__ import annotations

import torch
from torch import Tensor

from babelguard.method.losses.base import Batch, Context, Loss, first_tokens_of


def keep_loss(states: Tensor, plain_states: Tensor, answering_rows: Tensor, refusing_rows: Tensor) -> Tensor:
    """Return KL(P || P_theta) over the first token of a reply, where P is an answer of the model without a prompt.

    P is the model's distribution without a prompt over the tokens that begin answers. P_theta is the distribution under the soft
    prompt over these tokens and the tokens that begin refusals. Therefore the loss increases with the probability of a
    refusal, also for requests that the model refuses without a prompt, and with every change of how an answer begins. No logits
    over the whole vocabulary are needed.

    Args:
        states: x_theta at the last token of the chat, [batch, d].
        plain_states: x of the same queries without a prompt, [batch, d]; a constant.
        answering_rows: Output embeddings of tokens that begin answers, [a, d].
        refusing_rows: Output embeddings of tokens that begin refusals, [r, d].

    Returns:
        The loss of each row in nats, [batch].
    """
    before = torch.log_softmax(plain_states @ answering_rows.T, -1)
    after = torch.log_softmax(states @ torch.cat([answering_rows, refusing_rows]).T, -1)[:, : len(answering_rows)]
    return (before.exp() * (before - after)).sum(-1)


def _rows(batch: Batch, context: Context) -> Tensor:
    if batch.plain_states is None:
        raise ValueError("the keep loss needs the states without a prompt")
    first = first_tokens_of(context)
    # Harmful rows have label 0: they should not be answered at all.
    return batch.labels * keep_loss(batch.last_states, batch.plain_states, first.answering, first.refusing)


KEEP = Loss("keep", "answers as before", 0.0, _rows, needs_first_tokens=True, needs_plain_states=True)
