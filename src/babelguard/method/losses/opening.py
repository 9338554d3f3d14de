"""L_o, the opening loss: answers begin as before training, in the language of the question (babelguard's own)."""

from __future__ import annotations

import torch
from torch import Tensor

from babelguard.method.losses.base import Batch, Context, Loss, first_tokens_of, start_of


def opening_loss(states: Tensor, base_states: Tensor, answering_rows: Tensor) -> Tensor:
    """Return KL(P_0 || P_theta) over the first token of a reply, restricted to the tokens that begin answers.

    The behaviour loss only asks for an answer, and the easiest answer may be one in English. This loss keeps the
    relative probabilities of the tokens that begin answers. It does not affect the choice between answering and refusing.

    Args:
        states: x_theta at the last token of the chat, [batch, d].
        base_states: x_0 of the same queries under the start prompt, [batch, d]; a constant.
        answering_rows: Output embeddings of tokens that begin answers, [a, d].

    Returns:
        The loss of each row in nats, [batch].
    """
    before = torch.log_softmax(base_states @ answering_rows.T, -1)
    after = torch.log_softmax(states @ answering_rows.T, -1)
    return (before.exp() * (before - after)).sum(-1)


def _rows(batch: Batch, context: Context) -> Tensor:
    # Harmful rows have label 0: they should not be answered at all.
    return batch.labels * opening_loss(
        batch.last_states, start_of(batch).last_states, first_tokens_of(context).answering
    )


OPENING = Loss("opening", "answer openings", 0.0, _rows, needs_start_states=True, needs_first_tokens=True)
