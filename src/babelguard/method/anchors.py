"""Anchors: queries sent under several prompts, with their hidden states and whether the model complied.

They are collected once per run. The safety space is fitted on them, and they show which tokens begin refusals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from babelguard.corpus import Question
from babelguard.defences import Defence, NoDefence, WrittenDefence
from babelguard.defences.written import WRITTEN_PROMPTS
from babelguard.targets.local import LocalModel

# Anchors are collected without a prompt and under these written prompts. New written baselines do not change them.
ANCHOR_PROMPTS = ("long", "medium", "short")
# Verdicts that show whether the model refused or complied. Other replies are left out.
COMPLIANCE = {"refused": 0.0, "supported": 0.0, "partial": 1.0, "answered": 1.0}


@dataclass(frozen=True)
class Anchors:
    """Hidden states and behaviour of the anchor queries.

    Attributes:
        states: x of each (prompt, query) pair at the layer of the safety space, [pairs, d], float32, on the CPU.
        last_states: x of each pair after the final norm, [pairs, d], float32, on the CPU.
        compliance: 1 answered or partial, 0 refused or supported, nan otherwise, [pairs].
        harmless: 1 for harmless queries, [pairs].
        languages: Code of the language of each query, of length pairs.
        foreign: Whether the reply is in another language than the query, bool, [pairs].
    """

    states: Tensor
    last_states: Tensor
    compliance: Tensor
    harmless: Tensor
    languages: tuple[str, ...]
    foreign: Tensor


def anchor_digest() -> str:
    """Hash of the anchor prompts. It is part of a run's identity."""
    texts = "\x1f".join(f"{name}\x1e{WRITTEN_PROMPTS[name]}" for name in ANCHOR_PROMPTS)
    return hashlib.sha256(texts.encode()).hexdigest()[:16]


def anchor_defences(tokenizer: Any) -> list[Defence]:
    """Return no prompt, and each anchor prompt."""
    written = [WrittenDefence.from_text(f"written-{k}", WRITTEN_PROMPTS[k], tokenizer) for k in ANCHOR_PROMPTS]
    return [NoDefence(), *written]


@torch.no_grad()
def collect_anchors(
    model: LocalModel,
    questions: Sequence[Question],
    ask: Callable[[Defence, int, int], Sequence[tuple[str, bool | None]]],
    layer: int | None = None,
) -> Anchors:
    """Collect the states and verdicts of every anchor query under every prompt.

    Each query has one greedy reply under each prompt. DRO draws 25 samples instead.

    Args:
        model: The model.
        questions: The anchor queries.
        ask: Returns the verdicts on the replies to all questions under a defence, and whether each reply is in another
            language than the question. It is called with the defence, its number, and the number of defences.
        layer: Layer of the safety space, or None for the state after the final norm.
    """
    states, compliance, foreign = [], [], []
    prompts = anchor_defences(model.chat.tokenizer)
    texts = [question.text for question in questions]
    for number, defence in enumerate(prompts):
        replies = ask(defence, number, len(prompts))
        states.append(model.states_at_layers(defence, texts, () if layer is None else (layer,)))
        compliance += [COMPLIANCE.get(verdict, float("nan")) for verdict, _ in replies]
        foreign += [bool(other) for _, other in replies]
    harmless = [float(question.label == "harmless") for question in questions]
    found = torch.cat(states, dim=1)
    return Anchors(
        states=found[-1],
        last_states=found[0],
        compliance=torch.tensor(compliance),
        harmless=torch.tensor(harmless * len(prompts)),
        languages=tuple(question.language for question in questions) * len(prompts),
        foreign=torch.tensor(foreign),
    )
