"""Training theta: batches, steps, measured selection, checkpoints. The model is frozen; theta is all that moves."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from babelguard import engine
from babelguard.config import Settings
from babelguard.errors import UserError, cannot_write, damaged
from babelguard.hook import soft_prompt
from babelguard.objective import Batch, FirstTokens, row_losses, total_loss, worst_language_weights
from babelguard.run_folder import onto_disk
from babelguard.space import SafetySpace

CHECKPOINT_EVERY = 10
# So much worse than the start, in mean error on validation replies, is no detour: the steps have torn the language apart.
COLLAPSE = 0.1


class Step(NamedTuple):
    """The rows of one step: their indices, and the language index of each; `others` holds [k][batch] more languages."""

    rows: list[int]
    languages: list[int]
    others: list[list[int]]


@dataclass(frozen=True)
class TrainingData:
    """Parallel training prompts, rendered.

    Attributes:
        prefix_ids: Ids that all chats begin with, the placeholders included.
        suffixes: [language][row] ids of the rest of each chat.
        base_states: x_0 under the written prompt, [L, rows, d], float32.
        labels: 0 harmful, 1 harmless, [rows].
        english: Index of English, or None.
        groups: The rows, those that are worded alike (twins) together.
    """

    prefix_ids: list[int]
    suffixes: Sequence[Sequence[Sequence[int]]]
    base_states: Tensor
    labels: Tensor
    english: int | None
    groups: Sequence[Sequence[int]]


@dataclass
class Progress:
    """Where training stands; written to the checkpoint.

    Attributes:
        step: Steps done.
        optimised: Steps since the optimiser began anew.
        halved: How often the step size was halved, each time after a collapse.
        start_score, best_score, best_step: Measured on validation replies.
        history: The terms of every step.
    """

    step: int = 0
    optimised: int = 0
    halved: int = 0
    start_score: float = float("inf")
    best_score: float = float("inf")
    best_step: int = -1
    history: list[dict[str, float]] = field(default_factory=list)


def plan_step(
    step: int, *, settings: Settings, groups: Sequence[Sequence[int]], languages: int, english: int | None
) -> Step:
    """The rows and centre languages of a step: a pure function of the step and the seed, so a resumed run is the same.

    An epoch goes over all rows once, less what does not fill a batch. With `batches = "twins"` the rows of a group stand
    side by side and in one language, so that a step sees what tells them apart. `sequential` gives each language in turn
    an equal share of the steps (the released code: five epochs each).
    """
    if settings.batches == "rows":
        groups = [[row] for row in sorted(row for group in groups for row in group)]
    order = list(groups)
    rows = sum(map(len, groups))
    batch = min(settings.train_batch, rows)
    per_epoch = max(1, rows // batch)
    epoch, place = divmod(step, per_epoch)
    random.Random(f"{settings.seed}/rows/{epoch}").shuffle(order)
    dealt = [(row, number) for number, group in enumerate(order) for row in group][place * batch : (place + 1) * batch]
    rng = random.Random(f"{settings.seed}/languages/{step}")
    if settings.schedule == "english":
        centre = [english or 0] * batch
    elif settings.schedule == "sequential":
        centre = [min(languages - 1, step * languages // max(1, settings.steps))] * batch
    elif settings.schedule == "rotate":
        centre = [epoch % languages] * batch
    elif settings.schedule == "turns":
        centre = [step % languages] * batch
    else:
        # Every language as often as any other: groups are shuffled already, so their languages may go in turn.
        shift = rng.randrange(languages) - dealt[0][1]
        centre = [(number + shift) % languages for _, number in dealt]
    others: list[list[int]] = []
    if settings.alignment == "live" and settings.alignment_weight and languages > 1:
        count = min(settings.alignment_languages, languages - 1)
        samples = [rng.sample([k for k in range(languages) if k != c], count) for c in centre]
        others = [[sample[k] for sample in samples] for k in range(count)]
    return Step([row for row, _ in dealt], centre, others)


def step_factor(step: int, settings: Settings) -> float:
    """What the step size is multiplied by at a step (counted from 0): a pure function, so a resumed run is the same."""
    if settings.decay == "none":
        return 1.0
    warm = min(1.0, (step + 1) / max(1, settings.steps // 12))
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / settings.steps)))


def gather(data: TrainingData, step: Step, states: Tensor, settings: Settings) -> Batch:
    """Put the states of a step together with their constants."""
    batch = len(step.rows)
    rows, centre = torch.tensor(step.rows), torch.tensor(step.languages)
    base = data.base_states[centre, rows]
    reference = base
    if settings.base_logits == "english" and data.english is not None:
        reference = data.base_states[data.english, rows]
    count = data.base_states.shape[0]
    frozen = base
    if count > 1:
        frozen = (data.base_states[:, rows].sum(0) - base) / (count - 1)
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
    )


def step_suffixes(data: TrainingData, step: Step) -> list[list[int]]:
    """The suffixes of a step: centre rows first, then the other languages."""
    pairs = list(zip(step.rows, step.languages, strict=True))
    for group in step.others:
        pairs += list(zip(step.rows, group, strict=True))
    return [list(data.suffixes[language][row]) for row, language in pairs]


def train(
    model: Any,
    theta: Tensor,
    token_ids: tuple[int, ...],
    data: TrainingData,
    space: SafetySpace,
    first: FirstTokens | None,
    settings: Settings,
    *,
    step_size: float,
    folder: Path,
    validate: Callable[[Tensor, int], float] | None = None,
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> tuple[Tensor, Progress]:
    """Train theta and give back the prompt that is kept.

    Args:
        model: The frozen model.
        theta: The start, [n, d], float32.
        token_ids: The placeholder ids.
        data: The training prompts.
        space: The safety space.
        first: The first tokens of the behaviour term, where the anchors showed any.
        settings: The weights, the schedule and the number of steps.
        step_size: AdamW's learning rate in the units of the embeddings.
        folder: Checkpoints live here; an existing one is continued.
        validate: Measures theta on validation replies; smaller is better. Without it the last step is kept.
        report: Called after each step with the terms in plain numbers.

    Returns:
        theta as kept, [n, d] on the CPU, and the progress with its history.
    """
    device = model.get_input_embeddings().weight.device
    space = space.to(device)
    # Theta and the optimiser's state stay in float32: under AdamW a bfloat16 parameter stalls.
    parameter = torch.nn.Parameter(theta.detach().to(device=device, dtype=torch.float32).clone())
    optimiser = torch.optim.AdamW([parameter], lr=step_size, betas=(0.9, settings.beta2), weight_decay=0.0)
    weights = torch.ones(data.base_states.shape[0], device=device)
    progress, best = Progress(), parameter.detach().clone()
    saved = load_checkpoint(folder)
    if saved is not None:
        tensors, progress = saved
        parameter.data.copy_(tensors["theta"])
        weights, best = tensors["weights"].to(device), tensors["best"].to(device)
        if progress.optimised:
            state = {"step": torch.tensor(float(progress.optimised))}
            state |= {k: tensors[k].to(device) for k in ("exp_avg", "exp_avg_sq")}
            optimiser.state[parameter] = state

    def measure() -> None:
        nonlocal best
        if validate is None:
            return
        score = validate(parameter.detach().cpu(), progress.step)
        if progress.step == 0:
            progress.start_score = score
        if score < progress.best_score:
            progress.best_score, progress.best_step = score, progress.step
            best = parameter.detach().clone()
        elif score > progress.start_score + COLLAPSE:
            # From there no step leads back: go on from the best prompt so far, half as fast.
            parameter.data.copy_(best)
            optimiser.state.clear()
            progress.halved, progress.optimised = progress.halved + 1, 0

    def save() -> None:
        state = optimiser.state.get(parameter, {})
        moments = {k: state.get(k, torch.zeros_like(parameter)) for k in ("exp_avg", "exp_avg_sq")}
        save_checkpoint(folder, {"theta": parameter.detach(), "best": best, "weights": weights, **moments}, progress)

    english = data.english
    if saved is None:
        measure()
        save()
    while progress.step < settings.steps:
        step = plan_step(
            progress.step, settings=settings, groups=data.groups, languages=len(data.suffixes), english=english
        )
        with soft_prompt(model, parameter, token_ids):
            prefix = engine.run_prefix(model, data.prefix_ids)
            states = engine.last_states(model, prefix, step_suffixes(data, step)).float()
            batch = gather(data, step, states, settings)
            terms = row_losses(batch, space, first, settings)
            loss = total_loss(terms, batch.language, weights)
            optimiser.zero_grad()
            loss.backward()
        torch.nn.utils.clip_grad_norm_([parameter], 1.0)
        optimiser.param_groups[0]["lr"] = step_size * step_factor(progress.step, settings) / 2**progress.halved
        optimiser.step()
        if settings.language_weighting == "worst":
            weights = worst_language_weights(weights, terms, batch.language)
        progress.step, progress.optimised = progress.step + 1, progress.optimised + 1
        values = {name: float(term.detach().mean()) for name, term in terms.items()}
        progress.history.append({"step": progress.step, "total": float(loss.detach()), **values})
        if report is not None:
            report(progress.step, values | {"total": float(loss.detach())})
        ended = progress.step == settings.steps
        selecting = validate is not None and (progress.step % settings.select_every == 0 or ended)
        if selecting:
            measure()
        if selecting or ended or progress.step % CHECKPOINT_EVERY == 0:
            save()
    return (best if validate is not None else parameter.detach()).cpu(), progress


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], progress: Progress) -> None:
    """Write the checkpoint in one rename: a kill leaves the old one or the new one, never half of one.

    Raises:
        UserError: where the disk is full or the folder cannot be written.
    """
    target, draft = folder / "checkpoint.safetensors", folder / "checkpoint.part"
    contiguous = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(contiguous, draft, metadata={"progress": json.dumps(vars(progress))})
        onto_disk(draft)
        os.replace(draft, target)
    except (OSError, SafetensorError) as error:
        raise UserError(cannot_write(target, error)) from error


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Progress] | None:
    """Read the checkpoint, or None where there is none.

    Raises:
        UserError: where it is damaged.
    """
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            return {k: file.get_tensor(k) for k in file.keys()}, progress  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(damaged(path)) from error
