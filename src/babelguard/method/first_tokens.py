"""The tokens that begin this model's refusals and answers, found from the anchor replies and the training rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from babelguard.method.anchors import Anchors
from babelguard.method.losses import FirstTokens

# A token begins refusals if its mean probability after refused anchors is at least COMMON (or COMMON_IN_ONE divided by the
# number of languages, if that is less), and at least RATIO times as high as after answered anchors.
COMMON, COMMON_IN_ONE, RATIO = 0.01, 0.05, 2.0


@torch.no_grad()
def first_tokens(
    head: Tensor,
    anchors: Anchors,
    harmless_states: Tensor,
    *,
    languages: int,
    banned: Sequence[int],
    scale: float = 1.0,
    per_row: int = 16,
) -> FirstTokens | None:
    """Find the tokens that begin refusals and answers, for the behaviour and the opening loss.

    Refusals begin with few different tokens, which are found at the refused anchors. Answers begin with many different
    tokens, and there are no answered anchors in a language where the model refuses everything. Therefore the most likely
    first tokens of every harmless training row are used. Tokens that begin both about equally often are left out. With
    these tokens, training does not need logits over the whole vocabulary.

    Args:
        head: Output embeddings, [V, d].
        anchors: The anchors.
        harmless_states: States of all harmless training rows after the final norm, under the start prompt or without a prompt,
            [rows, d].
        languages: Number of languages of the anchors.
        banned: Token ids to leave out: placeholders, and tokens that end a reply.
        scale: Factor between head times state and the logits.
        per_row: Number of likely first tokens taken from each harmless row.

    Returns:
        The tokens, or None if no token begins refusals or none begins answers.
    """
    refused, answered = (_openings(head, scale * anchors.last_states[anchors.compliance == kind]) for kind in (0, 1))
    common = refused >= min(COMMON, COMMON_IN_ONE / languages)
    refusing = common & (refused >= RATIO * answered)
    answering = torch.zeros_like(common)
    for rows in harmless_states.split(64):
        logits = rows.to(head.device, head.dtype) @ head.T
        answering[logits.topk(min(per_row, len(head)), -1).indices.flatten()] = True
    answering &= ~(common & (RATIO * refused > answered))
    # Appended placeholders have no row in the head.
    never = [token for token in banned if token < len(head)]
    answering[never] = refusing[never] = False
    if not refusing.any() or not answering.any():
        return None
    return FirstTokens(scale * head[answering].float(), scale * head[refusing].float())


def _openings(head: Tensor, states: Tensor) -> Tensor:
    """Return the mean next-token probabilities, [V]. Zeros if there are no states."""
    total = torch.zeros(len(head), device=head.device)
    for part in states.split(64):
        total += torch.softmax((part.to(head.device, head.dtype) @ head.T).float(), -1).sum(0)
    return total / max(1, len(states))
