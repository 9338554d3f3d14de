"""Training data: the training rows rendered with the soft prompt in place, and their states under the start prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from babelguard import engine
from babelguard.corpus import Corpus
from babelguard.defences import NoDefence
from babelguard.defences.soft import SoftDefence
from babelguard.method.losses import Batch
from babelguard.method.schedule import Step
from babelguard.targets.local import LocalModel


@dataclass(frozen=True)
class TrainingData:
    """Parallel training prompts.

    Attributes:
        prefix_ids: Token ids that all chats begin with, including the placeholders.
        suffixes: Token ids of the rest of each chat, [language][row][token].
        base_states: x_0 under the start prompt at the layer of the safety space, [L, rows, d], float32, on the CPU.
        last_base_states: x_0 after the final norm, [L, rows, d], float32, on the CPU.
        labels: 0 harmful, 1 harmless, [rows].
        english: Index of English, or None.
        groups: Indices of the rows. Rows with similar wording (twins) form a group.
        layer: Layer of the safety space, counted from 1, or None for the state after the final norm.
        plain_states: x without a prompt after the final norm, [L, rows, d], float32, on the CPU, or None.
    """

    prefix_ids: list[int]
    suffixes: Sequence[Sequence[Sequence[int]]]
    base_states: Tensor
    last_base_states: Tensor
    labels: Tensor
    english: int | None
    groups: Sequence[Sequence[int]]
    layer: int | None = None
    plain_states: Tensor | None = None


@torch.no_grad()
def training_data(
    model: LocalModel,
    soft: SoftDefence,
    rows: Corpus,
    languages: Sequence[str],
    *,
    layer: int | None = None,
    plain: bool = False,
) -> TrainingData:
    """Render the training rows and run them under the start prompt.

    Args:
        model: The model.
        soft: The soft prompt before training.
        rows: The training rows.
        languages: The training languages.
        layer: Layer of the safety space, or None for the state after the final norm.
        plain: Whether to run the rows without a prompt as well.

    Raises:
        UserError: If a row does not fit into the model's context.
    """
    texts = [text for code in languages for text in rows.texts(code)]
    names = [f"{row.id} ({code})" for code in languages for row in rows.rows]
    chats = model.render(soft, texts, names=names)
    count = len(rows.rows)
    suffixes = [chats.suffixes[k * count : (k + 1) * count] for k in range(len(languages))]
    with soft.active(model.chat.model):
        prefix = engine.run_prefix(model.chat.model, chats.prefix_ids)
        layers = () if layer is None else (layer,)
        found = [engine.states_at_layers(model.chat.model, prefix, group, layers).float().cpu() for group in suffixes]
    english = languages.index("en") if "en" in languages else None
    labels = torch.tensor(rows.labels, dtype=torch.float32)
    states = torch.stack(found, dim=1)
    without = model.states(NoDefence(), texts, names=names).reshape(len(languages), count, -1) if plain else None
    return TrainingData(chats.prefix_ids, suffixes, states[-1], states[0], labels, english, rows.groups, layer, without)


def step_suffixes(data: TrainingData, step: Step) -> list[list[int]]:
    """Return the suffixes of a step: the centre rows first, then the other languages."""
    pairs = list(zip(step.rows, step.languages, strict=True))
    for group in step.others:
        pairs += list(zip(step.rows, group, strict=True))
    return [list(data.suffixes[language][row]) for row, language in pairs]


def gather(data: TrainingData, step: Step, states: Tensor, base_logits: Literal["own", "english"] = "own") -> Batch:
    """Build the batch of a step from its states and the constants of the training data.

    Args:
        data: The training data.
        step: The rows and languages.
        states: From `engine.states_at_layers`, in the order of `step_suffixes`, [1 or 2, (1 + k) * batch, d].
        base_logits: Base logits of L_r and L_h: those of the query itself, or of its English version.
    """
    batch = len(step.rows)
    rows, centre = torch.tensor(step.rows), torch.tensor(step.languages)
    base = data.base_states[centre, rows]
    reference = base
    if base_logits == "english" and data.english is not None:
        reference = data.base_states[data.english, rows]
    count = data.base_states.shape[0]
    frozen = base
    if count > 1:
        frozen = (data.base_states[:, rows].sum(0) - base) / (count - 1)
    last, states = states[0], states[-1]
    others = states[batch:].reshape(len(step.others), batch, -1) if step.others else None
    device = states.device
    return Batch(
        states=states[:batch],
        other_states=others,
        base_states=base.to(device),
        reference_states=reference.to(device),
        frozen_target=frozen.to(device),
        labels=data.labels[rows].to(device),
        language=centre.to(device),
        last_states=last[:batch],
        last_base_states=data.last_base_states[centre, rows].to(device),
        plain_states=None if data.plain_states is None else data.plain_states[centre, rows].to(device),
    )
