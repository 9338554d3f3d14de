"""L_o: an answer opens as it did before training, so that it stays in the language of the question (this project's own)."""

from __future__ import annotations

import torch
from torch import Tensor


def opening_loss(states: Tensor, base_states: Tensor, helping_rows: Tensor) -> Tensor:
    """KL(P_0 || P_theta) of the first token of an answer, given that it is an answer.

    The behaviour term makes harmless queries answered and cares not how; the easiest answer to reach may be one in
    English. Here only the choice among the tokens that open answers counts, so the two terms do not pull at each other.

    Args:
        states: x_theta at the last token of the chat, [batch, d].
        base_states: x_0 of the same queries under the written prompt, [batch, d]; a constant.
        helping_rows: Output embeddings of tokens that open answers, [a, d].

    Returns:
        The loss of each row in nats, [batch].
    """
    before = torch.log_softmax(base_states @ helping_rows.T, -1)
    after = torch.log_softmax(states @ helping_rows.T, -1)
    return (before.exp() * (before - after)).sum(-1)
