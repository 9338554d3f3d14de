"""The tokens that begin this model's refusals and answers, found from the anchor replies and the training rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from babelguard.method.anchors import Anchors
from babelguard.method.losses import FirstTokens

# A token begins refusals in a language if its mean probability after refused anchors is at least COMMON, and at least RATIO times
# as high as after answered anchors and for harmless training rows.
COMMON, RATIO = 0.03, 2.0
# In a model that refuses some requests, at least one token has this ratio in one of the languages. The clearest tokens of two
# chat models had ratios of 8.9 and 10.6. In a model that never refuses, misjudged replies gave a ratio of 2.0.
CLEAR = 3.0
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

    Refusals begin with few different tokens, which are found at the refused anchors of each language. Answers begin with many
    different tokens, and there are no answered anchors in a language where the model refuses everything. Therefore the most
    likely first tokens of every harmless training row are used. With these tokens, training does not need logits over the
    whole vocabulary.

    In a language where no token begins refusals `RATIO` times as often as answers, the token with the highest ratio is taken.
    Some tokens, such as the first letter of many words, begin refusals only a little more often than answers. No refusal should
    be taught with them, so they count as answers for harmful queries. For harmless queries, they are neither right nor wrong.

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
        The tokens, or None if no token clearly begins refusals (a ratio of `CLEAR` in any language), or none begins answers.
    """
    # Refusals in another language than the request are no examples of how to refuse in its language.
    refused_rows, answered_rows = (anchors.compliance == 0) & ~anchors.foreign, anchors.compliance == 1
    spoken = [torch.tensor([code == one for code in anchors.languages]) for one in languages]
    refused, answered = (
        torch.stack([_openings(head, scale * anchors.last_states[rows & own]) for own in spoken])
        for rows in (refused_rows, answered_rows)
    )
    harmless = torch.stack([_openings(head, scale * rows) for rows in harmless_states])
    common = (refused >= COMMON) & _native(refused)
    # Without any refusal or any answer, the ratio is 0.
    ratio = refused * common / torch.maximum(answered, harmless).clamp(min=1e-9)
    if ratio.max() < CLEAR:
        return None
    refuses = (ratio > 1) & (ratio >= ratio.max(-1, keepdim=True).values.clamp(max=RATIO))
    answering = torch.zeros(len(head), dtype=torch.bool, device=head.device)
    for rows in torch.cat(list(harmless_states)).split(64):
        logits = rows.to(head.device, head.dtype) @ head.T
        answering[logits.topk(min(per_row, len(head)), -1).indices.flatten()] = True
    # Appended placeholders have no row in the head.
    never = [token for token in banned if token < len(head)]
    refuses[:, never] = False
    answering[never] = False
    refusing = refuses.any(0)
    answering &= ~refusing
    if not refusing.any() or not answering.any():
        return None
    neutral = (common & (refused > harmless))[:, answering]
    return FirstTokens(
        scale * head[answering].float(),
        scale * head[refusing].float(),
        _or_all(_native(harmless)[:, answering] & ~neutral),
        _or_all(refuses[:, refusing]),
        neutral,
    )


def _native(probabilities: Tensor) -> Tensor:
    """Return whether each token belongs to each language, bool, [L, V]. `probabilities`: mean in each language, [L, V]."""
    # A token without any probability belongs to no language.
    return (probabilities >= SHARE * probabilities.max(0).values) & (probabilities > 0)


def _or_all(tokens: Tensor) -> Tensor:
    """Return tokens of each language, bool, [L, tokens]; all of them for a language that has none.

    For example, nothing is refused in a language, so the refusals of other languages are right there.
    """
    return tokens | ~tokens.any(-1, keepdim=True)


def _openings(head: Tensor, states: Tensor) -> Tensor:
    """Return the mean next-token probabilities, [V]. Zeros if there are no states."""
    total = torch.zeros(len(head), device=head.device)
    for part in states.split(64):
        total += torch.softmax((part.to(head.device, head.dtype) @ head.T).float(), -1).sum(0)
    return total / max(1, len(states))
