"""Anchors: queries under several prompts, with their states and whether the model complied. Once per model.

From them come the safety space, and the tokens with which this model opens a refusal.
"""

from __future__ import annotations

from collections import Counter
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


@dataclass(frozen=True)
class Anchors:
    """States and behaviour of the anchor queries.

    Attributes:
        states: x of each (prompt, query) pair, [pairs, d], float32 on the CPU.
        compliance: 1 answered, 0 refused, nan broken or unscored, [pairs].
        harmless: 1 for harmless queries, [pairs].
        refusing_ids: First tokens that opened refusals more often than answers.
        helping_ids: First tokens that opened answers more often than refusals.
    """

    states: Tensor
    compliance: Tensor
    harmless: Tensor
    refusing_ids: list[int]
    helping_ids: list[int]


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
    opened: dict[str, Counter[int]] = {"refused": Counter(), "answered": Counter()}
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
            row = bench.generations.get(bench.key(defence, question, tokens)) or {}
            if reply.verdict in opened and row.get("first_token") is not None:
                opened[reply.verdict][row["first_token"]] += 1
    refused, answered = opened["refused"], opened["answered"]
    return Anchors(
        states=torch.cat(states),
        compliance=torch.tensor(compliance),
        harmless=torch.tensor(harmless),
        refusing_ids=sorted(t for t in refused if refused[t] > answered[t]),
        helping_ids=sorted(t for t in answered if answered[t] >= refused[t]),
    )


@torch.no_grad()
def first_tokens(
    head: Tensor, anchors: Anchors, base_states: Tensor, harmless: Tensor, *, banned: Sequence[int], per_row: int = 16
) -> FirstTokens | None:
    """The tokens between which the behaviour term chooses, and among which the opening term keeps the balance.

    Refusals open with few tokens, seen in the anchors. Answers open with many, and in a language in which everything
    is refused none was ever seen: so the likeliest openings of every harmless training row, refusals left out, are
    taken too. No vocabulary logits are then needed in training.

    Args:
        head: Output embeddings, [V, d].
        anchors: What opened refusals and answers.
        base_states: x_0 of all training rows, [L, rows, d].
        harmless: 1 for harmless rows, [rows].
        banned: Ids that never open a reply: the placeholders.
        per_row: Likeliest openings that are taken from each row.

    Returns:
        None where the anchors showed no opening of a refusal, or nothing an opening of an answer.
    """
    if not anchors.refusing_ids:
        return None
    left_out = set(anchors.refusing_ids) | set(banned)
    found = set(anchors.helping_ids)
    for states in base_states:
        rows = states[harmless.bool()].to(head.device, head.dtype)
        found |= set((rows @ head.T).topk(min(per_row, len(head)), -1).indices.flatten().tolist())
    helping = torch.tensor(sorted(found - left_out), device=head.device)
    if not len(helping):
        return None
    refusing = torch.tensor(anchors.refusing_ids, device=head.device)
    return FirstTokens(head[helping].float(), head[refusing].float())
