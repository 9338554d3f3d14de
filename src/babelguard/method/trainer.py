"""Train the soft prompt, or another tensor theta. The model is frozen; theta is the only parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from babelguard.config.sections import Training
from babelguard.method.checkpoint import Progress, load_checkpoint, save_checkpoint
from babelguard.method.data import TrainingData, gather, step_suffixes
from babelguard.method.losses import Batch, Context
from babelguard.method.losses.behaviour import right_margin
from babelguard.method.objective import needs_other_languages, row_losses, total_loss
from babelguard.method.passes import Passes
from babelguard.method.schedule import learning_rate_factor, plan_step
from babelguard.method.weighting import Weighting, averaged_errors, initial_state, raised_by_loss, weights_of

CHECKPOINT_EVERY = 10
# A validation error this much above that of the start prompt counts as a collapse: replies are no longer usable text.
COLLAPSE = 0.1
GRADIENT_NORM = 1.0


@torch.no_grad()
def begins_wrongly(batch: Batch, context: Context) -> Tensor:
    """Return whether the reply to each row begins wrongly: an answer to a harmful row, a refusal of a harmless one, or
    another language.

    Without tokens that begin answers and refusals, the compliance logit of the safety space decides.

    Returns:
        Truth values, [batch].
    """
    first = context.first_tokens
    if first is None:
        return (context.space.compliance_logit(batch.states) > 0) != (batch.labels > 0.5)
    return right_margin(batch.last_states, first, batch.labels, batch.language) <= 0


def _numbers(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """Read scalars from the device, which is waited for once."""
    return dict(zip(scalars, torch.stack([scalar.detach() for scalar in scalars.values()]).tolist(), strict=True))


def train(
    passes: Passes,
    theta: Tensor,
    data: TrainingData,
    context: Context,
    *,
    weights: Mapping[str, float],
    training: Training,
    seed: int,
    step_size: float,
    folder: Path,
    run: str = "",
    base_logits: Literal["own", "english"] = "own",
    alignment_languages: int = 1,
    weighting: Weighting = "mean",
    validate: Callable[[Tensor, int], float] | None = None,
    validate_every: int = 20,
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> tuple[Tensor, Progress]:
    """Train theta, and return the selected theta with the training progress.

    Args:
        passes: The forward and the backward pass with theta.
        theta: The start values, such as the start prompt, [n, d], float32, on the device of the states.
        data: The training prompts.
        context: The safety space and the other constants of the losses.
        weights: Weight of every loss.
        training: The schedule, the number of steps and the optimiser's settings.
        seed: Random seed.
        step_size: Learning rate of AdamW, in the scale of theta.
        folder: Folder of the checkpoints. An existing checkpoint is resumed.
        run: Identifies the run. A checkpoint of another run is refused.
        base_logits: Base logits of L_r and L_h: those of the query itself, or of its English version.
        alignment_languages: Other languages sampled per row, if a loss compares languages.
        weighting: How rows are weighted by language and label; see `babelguard.method.weighting`.
        validate: Called with (theta, step) before training and at each validation. Returns the validation error. Without it,
            the last step is kept.
        validate_every: Steps between validations.
        report: Called after each step with the number of finished steps and the losses.

    Returns:
        The kept theta, on the CPU, and the progress with its history.
    """
    device = theta.device
    # AdamW stalls with a bfloat16 parameter, so theta and the optimiser state are float32.
    parameter = torch.nn.Parameter(theta.detach().to(dtype=torch.float32).clone())
    optimiser = torch.optim.AdamW([parameter], lr=step_size, betas=(0.9, training.beta2), weight_decay=0.0)
    balance = initial_state(weighting, len(data.suffixes)).to(device)
    progress, best = Progress(), parameter.detach().clone()
    names = ("theta", "best", "exp_avg", "exp_avg_sq")
    saved = load_checkpoint(folder, dict.fromkeys(names, parameter) | {"balance": balance}, run)
    if saved is not None:
        tensors, progress = saved
        parameter.data.copy_(tensors["theta"])
        balance, best = tensors["balance"].to(device), tensors["best"].to(device)
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
            # Training does not recover from a collapse: restore the best prompt and halve the learning rate.
            parameter.data.copy_(best)
            optimiser.state.clear()
            progress.halved, progress.optimised = progress.halved + 1, 0

    def save() -> None:
        state = optimiser.state.get(parameter, {})
        moments = {k: state.get(k, torch.zeros_like(parameter)) for k in ("exp_avg", "exp_avg_sq")}
        tensors = {"theta": parameter.detach(), "best": best, "balance": balance, **moments}
        save_checkpoint(folder, tensors, progress, run)

    if saved is None:
        measure()
        save()
    others = alignment_languages if needs_other_languages(weights) else 0
    while progress.step < training.steps:
        step = plan_step(
            progress.step,
            training=training,
            seed=seed,
            groups=data.groups,
            languages=len(data.suffixes),
            english=data.english,
            other_languages=others,
        )
        states = passes.forward(parameter, data.prefix_ids, step_suffixes(data, step), data.layer)
        batch = gather(data, step, states, base_logits)
        terms = row_losses(batch, context, weights)
        loss = total_loss(terms, batch.language, batch.labels, weights_of(weighting, balance))
        loss.backward()
        if states.grad is None:
            raise ValueError("the loss does not depend on the states")
        parameter.grad = passes.backward(states.grad)
        torch.nn.utils.clip_grad_norm_([parameter], GRADIENT_NORM)
        factor = learning_rate_factor(progress.step, steps=training.steps, decay=training.decay)
        optimiser.param_groups[0]["lr"] = step_size * factor / 2**progress.halved
        optimiser.step()
        if weighting == "worst":
            balance = raised_by_loss(balance, torch.stack([t.detach() for t in terms.values()]).sum(0), batch.language)
        elif weighting == "errors":
            balance = averaged_errors(balance, begins_wrongly(batch, context), batch.language, batch.labels)
        progress.step, progress.optimised = progress.step + 1, progress.optimised + 1
        values = _numbers({name: term.mean() for name, term in terms.items()} | {"total": loss})
        progress.history.append({"step": progress.step, **values})
        if report is not None:
            report(progress.step, values)
        ended = progress.step == training.steps
        selecting = validate is not None and (progress.step % validate_every == 0 or ended)
        if selecting:
            measure()
        if selecting or ended or progress.step % CHECKPOINT_EVERY == 0:
            save()
    return (best if validate is not None else parameter.detach()).cpu(), progress
