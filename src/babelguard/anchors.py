"""Anchors: queries under several prompts, with their states and whether the model complied. Once per model.

From them come the safety space, and the tokens with which this model opens a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from babelguard import engine
from babelguard.defence import Defence, written_defence
from babelguard.evaluation.measure import Bench, Question
from babelguard.objective import FirstTokens
from babelguard.written import WRITTEN_PROMPTS

NAMES = {"refused": 0.0, "answered": 1.0}
# A word opens refusals if it opens so many of them, or so many of one language's, and is so many times as likely there as
# before answers.
COMMON, COMMON_IN_ONE, CLEARLY = 0.01, 0.05, 2.0


@dataclass(frozen=True)
class Anchors:
    """States and behaviour of the anchor queries.

    Attributes:
        states: x of each (prompt, query) pair, [pairs, d], float32 on the CPU.
        compliance: 1 answered, 0 refused, nan broken or unscored, [pairs].
        harmless: 1 for harmless queries, [pairs].
    """

    states: Tensor
    compliance: Tensor
    harmless: Tensor


def prompts_of_anchors(tokenizer: Any) -> list[Defence]:
    """No prompt, and each written prompt."""
    written = [written_defence(f"written-{name}", text, tokenizer) for name, text in WRITTEN_PROMPTS.items()]
    return [Defence("none"), *written]


@torch.no_grad()
def collect_anchors(
    bench: Bench, asked: Sequence[Question], *, tokens: int, tick: Callable[[int, int], None] | None = None
) -> Anchors:
    """Ask every anchor query under every prompt, greedily (the cheap form of the recipe's 25 samples).

    Args:
        bench: The model and its logs; replies in the log are not made again.
        asked: The anchor queries.
        tokens: Length of a reply; a refusal shows in its first words.
        tick: Told (done, total) over all prompts.
    """
    chat = bench.chat
    states, compliance, harmless = [], [], []
    prompts = prompts_of_anchors(chat.tokenizer)
    for number, defence in enumerate(prompts):

        def count(done: int, total: int, number: int = number) -> None:
            if tick is not None:
                tick(number * total + done, len(prompts) * total)

        scored = bench.ask(defence, asked, tokens=tokens, tick=count)
        chats = [defence.token_ids(chat.tokenizer, question.text) for question in asked]
        prefix_ids = engine.shared_prefix(chats)
        prefix = engine.run_prefix(chat.model, prefix_ids)
        states.append(engine.last_states(chat.model, prefix, engine.split(chats, prefix_ids)).float().cpu())
        for question, reply in zip(asked, scored, strict=True):
            compliance.append(NAMES.get(reply.verdict, float("nan")))
            harmless.append(float(question.label == "harmless"))
    return Anchors(
        states=torch.cat(states),
        compliance=torch.tensor(compliance),
        harmless=torch.tensor(harmless),
    )


@torch.no_grad()
def first_tokens(
    head: Tensor,
    anchors: Anchors,
    base_states: Tensor,
    harmless: Tensor,
    *,
    languages: int,
    banned: Sequence[int],
    scale: float = 1.0,
    per_row: int = 16,
) -> FirstTokens | None:
    """The tokens between which the behaviour term chooses, and among which the opening term keeps the balance.

    Refusals open with few tokens: those that open one in a hundred of the refused anchors (fewer where many languages
    share them), as the model's probabilities have it, and are twice as likely there as at the answered ones. Answers open
    with many, and in a language in which everything is refused none was ever seen: so they are the likeliest openings of
    every harmless training row. What is about as likely to open the one as the other stands on neither side. No vocabulary
    logits are then needed in training.

    Args:
        head: Output embeddings, [V, d].
        anchors: States that were followed by refusals and by answers.
        base_states: x_0 of all training rows, [L, rows, d].
        harmless: 1 for harmless rows, [rows].
        languages: How many the anchors are in: each has words of its own.
        banned: Ids that never open a reply: the placeholders, and what ends a reply.
        scale: Logits are head times state times this.
        per_row: Likeliest openings that are taken from each row.

    Returns:
        None where the anchors showed no opening of a refusal, or nothing an opening of an answer.
    """
    refused, answered = (_openings(head, scale * anchors.states[anchors.compliance == kind]) for kind in (0, 1))
    common = refused >= min(COMMON, COMMON_IN_ONE / languages)
    refusing = common & (refused >= CLEARLY * answered)
    helping = torch.zeros_like(common)
    for rows in base_states[:, harmless.bool()].flatten(0, 1).split(64):
        logits = rows.to(head.device, head.dtype) @ head.T
        helping[logits.topk(min(per_row, len(head)), -1).indices.flatten()] = True
    helping &= ~(common & (CLEARLY * refused > answered))
    # Placeholders that were appended to the tokenizer have no row in the head.
    never = [token for token in banned if token < len(head)]
    helping[never] = refusing[never] = False
    if not refusing.any() or not helping.any():
        return None
    return FirstTokens(scale * head[helping].float(), scale * head[refusing].float())


def _openings(head: Tensor, states: Tensor) -> Tensor:
    """Mean probability of every token to come next, [V]; zeros where there are no states."""
    total = torch.zeros(len(head), device=head.device)
    for part in states.split(64):
        total += torch.softmax((part.to(head.device, head.dtype) @ head.T).float(), -1).sum(0)
    return total / max(1, len(states))
