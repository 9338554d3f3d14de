"""Training data: the training rows as the trained defence renders them, and their states under the start prompt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from babelguard.corpus import Corpus
from babelguard.defences import Defence, NoDefence
from babelguard.method.losses import Batch, StartStates
from babelguard.method.schedule import Step
from babelguard.targets.local import LocalModel


@dataclass(frozen=True)
class TrainingData:
    """Parallel training prompts.

    Attributes:
        prefix_ids: Token ids that all chats begin with, including the placeholders.
        suffixes: Token ids of the rest of each chat, [language][row][token].
        labels: 0 harmful, 1 harmless, [rows].
        english: Index of English, or None.
        groups: Indices of the rows. Rows with similar wording (twins) form a group.
        layer: Layer of the safety space, counted from 1, or None for the state after the final norm.
        start_states: x_0 under the start prompt, after the final norm and at the layer of the safety space (the same if it
            is the last), [1 or 2, L, rows, d], float32, on the CPU, or None.
        plain_states: x without a prompt after the final norm, [L, rows, d], float32, on the CPU, or None. 0 for harmful rows and
            rows that no step uses.
    """

    prefix_ids: list[int]
    suffixes: Sequence[Sequence[Sequence[int]]]
    labels: Tensor
    english: int | None
    groups: Sequence[Sequence[int]]
    layer: int | None = None
    start_states: Tensor | None = None
    plain_states: Tensor | None = None


@torch.no_grad()
def training_data(
    model: LocalModel,
    defence: Defence,
    rows: Corpus,
    languages: Sequence[str],
    *,
    layer: int | None = None,
    start: bool = True,
    plain: Collection[tuple[int, int]] = (),
) -> TrainingData:
    """Render the training rows, and run them under the start prompt and without a prompt.

    Args:
        model: The model.
        defence: What is trained, such as a soft prompt, before training.
        rows: The training rows.
        languages: The training languages.
        layer: Layer of the safety space, or None for the state after the final norm.
        start: Whether to run the rows under the start prompt.
        plain: The (language, row) pairs to run without a prompt. Harmful rows are left out.

    Raises:
        UserError: If a row does not fit into the model's context.
    """
    texts = [text for code in languages for text in rows.texts(code)]
    names = [f"{row.id} ({code})" for code in languages for row in rows.rows]
    chats = model.render(defence, texts, names=names)
    count, labels = len(rows.rows), torch.tensor(rows.labels, dtype=torch.float32)
    layers = () if layer is None else (layer,)
    start_states = plain_states = None
    if start:
        start_states = model.states_of(defence, chats, layers).unflatten(1, (len(languages), count))
    if plain:
        harmless = [language * count + row for language, row in sorted(plain) if labels[row]]
        states = model.states(NoDefence(), [texts[k] for k in harmless], names=[names[k] for k in harmless])
        plain_states = states.new_zeros(len(texts), states.shape[-1])
        plain_states[harmless] = states
        plain_states = plain_states.unflatten(0, (len(languages), count))
    return TrainingData(
        prefix_ids=chats.prefix_ids,
        suffixes=[chats.suffixes[k * count : (k + 1) * count] for k in range(len(languages))],
        labels=labels,
        english=languages.index("en") if "en" in languages else None,
        groups=rows.groups,
        layer=layer,
        start_states=start_states,
        plain_states=plain_states,
    )


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
        states: From `babelguard.method.passes.Passes.forward`, in the order of `step_suffixes`, [1 or 2, (1 + k) * batch, d].
        base_logits: Base logits of L_r and L_h: those of the query itself, or of its English version.
    """
    batch, device = len(step.rows), states.device
    rows, centre = torch.tensor(step.rows), torch.tensor(step.languages)
    last, at_layer = states[0], states[-1]
    start = plain = None
    if data.start_states is not None:
        start = _start_states(data, data.start_states, rows, centre, base_logits)
        start = StartStates(**{name: tensor.to(device) for name, tensor in vars(start).items()})
    if data.plain_states is not None:
        plain = data.plain_states[centre, rows].to(device)
    return Batch(
        states=at_layer[:batch],
        other_states=at_layer[batch:].reshape(len(step.others), batch, -1) if step.others else None,
        labels=data.labels[rows].to(device),
        language=centre.to(device),
        last_states=last[:batch],
        start=start,
        plain_states=plain,
    )


def _start_states(
    data: TrainingData, states: Tensor, rows: Tensor, centre: Tensor, base_logits: Literal["own", "english"]
) -> StartStates:
    at_layer, count = states[-1], states.shape[1]
    own = at_layer[centre, rows]
    english = base_logits == "english" and data.english is not None
    return StartStates(
        states=own,
        last_states=states[0][centre, rows],
        reference=at_layer[data.english, rows] if english else own,
        frozen_target=(at_layer[:, rows].sum(0) - own) / (count - 1) if count > 1 else own,
    )
