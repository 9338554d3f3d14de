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
# A token belongs to a language if its mean probability there is at least this share of that in the language where it is highest.
# Few tokens are in between: words such as "Sure" belong to one language, and marks such as "1" to all.
SHARE = 0.25


@torch.no_grad()
def first_tokens(
    head: Tensor,
    anchors: Anchors,
    harmless_states: Sequence[Tensor],
    *,
    languages: Sequence[str],
    banned: Sequence[int],
    scale: float = 1.0,
    per_row: int = 16,
) -> FirstTokens | None:
    """Find the tokens that begin refusals and answers, and the languages they belong to.

    Refusals begin with few different tokens, which are found at the refused anchors. Answers begin with many different
    tokens, and there are no answered anchors in a language where the model refuses everything. Therefore the most likely
    first tokens of every harmless training row are used. Tokens that begin both about equally often are left out. With
    these tokens, training does not need logits over the whole vocabulary.

    Args:
        head: Output embeddings, [V, d].
        anchors: The anchors.
        harmless_states: States of the harmless training rows of each training language after the final norm, under the start
            prompt or without a prompt, [rows, d] each.
        languages: Codes of the training languages.
        banned: Token ids to leave out: placeholders, and tokens that end a reply.
        scale: Factor between head times state and the logits.
        per_row: Number of likely first tokens taken from each harmless row.

    Returns:
        The tokens, or None if no token begins refusals or none begins answers.
    """
    refused, answered = (_openings(head, scale * anchors.last_states[anchors.compliance == kind]) for kind in (0, 1))
    common = refused >= min(COMMON, COMMON_IN_ONE / len(languages))
    refusing = common & (refused >= RATIO * answered)
    answering = torch.zeros_like(common)
    for rows in torch.cat(list(harmless_states)).split(64):
        logits = rows.to(head.device, head.dtype) @ head.T
        answering[logits.topk(min(per_row, len(head)), -1).indices.flatten()] = True
    answering &= ~(common & (RATIO * refused > answered))
    # Appended placeholders have no row in the head.
    never = [token for token in banned if token < len(head)]
    answering[never] = refusing[never] = False
    if not refusing.any() or not answering.any():
        return None
    # Refusals in another language than the request are no examples of how to refuse in its language.
    own = (anchors.compliance == 0) & ~anchors.foreign
    refusals = [own & torch.tensor([code == one for code in anchors.languages]) for one in languages]
    answers_in = _belongs([_openings(head, scale * rows)[answering] for rows in harmless_states])
    refuses_in = _belongs([_openings(head, scale * anchors.last_states[rows])[refusing] for rows in refusals])
    return FirstTokens(scale * head[answering].float(), scale * head[refusing].float(), answers_in, refuses_in)


def _belongs(probabilities: Sequence[Tensor]) -> Tensor:
    """Return whether each token belongs to each language, bool, [L, tokens].

    All tokens belong to a language to which none would belong, for example if nothing is refused in it.

    Args:
        probabilities: Mean probability of the tokens in each language, [tokens] each.
    """
    found = torch.stack(list(probabilities))
    # A token without any probability belongs to no language.
    belongs = (found >= SHARE * found.max(0).values) & (found > 0)
    return belongs | ~belongs.any(-1, keepdim=True)


def _openings(head: Tensor, states: Tensor) -> Tensor:
    """Return the mean next-token probabilities, [V]. Zeros if there are no states."""
    total = torch.zeros(len(head), device=head.device)
    for part in states.split(64):
        total += torch.softmax((part.to(head.device, head.dtype) @ head.T).float(), -1).sum(0)
    return total / max(1, len(states))
