"""The training stage of a run: anchors, safety space, first tokens and training, each with its screen output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from babelguard import parallel
from babelguard.analysis.separability import MIN_AUROC, language_aurocs
from babelguard.config import Settings
from babelguard.corpus import questions
from babelguard.defences import Defence
from babelguard.errors import NothingToAlign
from babelguard.evaluation.bench import Bench
from babelguard.evaluation.error_rates import UNSCORED_ONE_IN, selection_error
from babelguard.evaluation.outcome import ScoredReply
from babelguard.jobs.anchors import ask_anchors
from babelguard.jobs.prepare import Prepared
from babelguard.jobs.run_folder import run_digest
from babelguard.jobs.safety_space import fit_on_anchors, layer_of_space
from babelguard.judges import Verdict
from babelguard.languages import display_name
from babelguard.method.anchors import Anchors
from babelguard.method.data import TrainingData, training_data
from babelguard.method.first_tokens import first_tokens
from babelguard.method.losses import LOSSES, Context, FirstTokens
from babelguard.method.objective import active_losses, needs_first_tokens, needs_plain_states, needs_start_states
from babelguard.method.schedule import planned_pairs
from babelguard.method.trainable import Trainable
from babelguard.method.trainer import train
from babelguard.models.load import ChatModel
from babelguard.models.probes import logit_scale
from babelguard.screen import Screen
from babelguard.targets import LocalModel

LOSS_LABELS = {loss.name: loss.label for loss in LOSSES} | {"total": "total"}


def learn(
    prepared: Prepared, model: LocalModel, bench: Bench, trainable: Trainable, screen: Screen
) -> tuple[Tensor, dict[str, Any]]:
    """Train a soft prompt, or another tensor.

    Args:
        prepared: The loaded inputs of the run.
        model: The model.
        bench: The logs of the run.
        trainable: What is trained.
        screen: Shows progress.

    Returns:
        The kept theta, on the CPU, and facts about the training for the model card.

    Raises:
        NothingToAlign: If the model refuses (nearly) nothing or (nearly) everything.
    """
    settings, folder, defence = prepared.settings, prepared.output, trainable.defence
    weights, languages = settings.objective.weights, settings.data.languages
    screen.title("Measuring refusals on anchor queries")
    objective = settings.objective
    codes = languages if objective.anchors == "training" else ("en",)
    asked = questions(prepared.train.select(codes, objective.anchor_rows), codes, "train")
    layer = layer_of_space(prepared, model, screen)
    anchors = ask_anchors(model, bench, asked, prepared.budgets(objective.anchor_tokens, codes), screen, layer)
    space = fit_on_anchors(anchors, settings, folder, screen)
    from_start = needs_start_states(weights)
    plain: set[tuple[int, int]] = set()
    if needs_plain_states(weights) or (needs_first_tokens(weights) and not from_start):
        plain = planned_pairs(
            training=settings.training,
            seed=settings.seed,
            groups=prepared.train.groups,
            languages=len(languages),
            english=languages.index("en") if "en" in languages else None,
        )
    data = training_data(model, defence, prepared.train, languages, layer=layer, start=from_start, plain=plain)
    first = _first_tokens(model.chat, anchors, data, defence, settings, screen)
    aurocs: list[float] = []
    if data.start_states is not None:
        aurocs = language_aurocs(data.start_states[0], data.labels, data.groups, seed=settings.seed)
        for line in separability_lines(languages, aurocs):
            screen.say(f"  {line}")
    screen.title(f"Training {trainable.title}")
    by_validation = settings.selection.keep == "validation"
    validation = prepared.validation_questions if by_validation else []
    budgets = prepared.budgets(settings.selection.reply_tokens, languages)
    with screen.progress("steps") as (tick, note):
        scores: list[str] = []

        def report(step: int, terms: dict[str, float]) -> None:
            tick(step, settings.training.steps)
            note("  ".join([*(f"{LOSS_LABELS[k]} {v:.3f}" for k, v in terms.items()), *scores[-1:]]))

        def validate(theta: Tensor, step: int) -> float:
            replies = bench.ask(trainable.with_theta(theta), validation, tokens=budgets)
            score = selection_error(replies)
            scores.append(f"validation error {100 * score:.1f} %")
            screen.say(f"  step {step}: mean error on validation replies {100 * score:.1f} %")
            if line := unscored_line(replies):
                screen.say(f"  {line}")
            return score

        theta, progress = train(
            trainable.passes,
            trainable.theta.to(model.chat.device),
            data,
            Context(space.to(model.chat.device), first, settings.objective.harmless_weight),
            weights=weights,
            training=settings.training,
            seed=settings.seed,
            step_size=trainable.step_size,
            folder=folder / "training",
            run=run_digest(folder),
            base_logits=settings.objective.base_logits,
            alignment_languages=settings.objective.alignment_languages,
            weighting=settings.objective.weighting,
            validate=validate if by_validation else None,
            validate_every=settings.selection.every,
            report=report,
        )
    kept = progress.best_step if by_validation else progress.step
    screen.say(f"  kept the {trainable.noun} of step {kept}")
    if progress.halved:
        times = "once" if progress.halved == 1 else f"{progress.halved} times"
        best = f"the best {trainable.noun} was restored"
        screen.say(f"  training collapsed {times}: {best} and the learning rate halved each time")
    last = progress.history[-1] if progress.history else {}
    return theta, {
        "steps": settings.training.steps,
        "kept_step": kept,
        "learning_rate_halved": progress.halved,
        "train_rows": len(prepared.train.rows),
        "learning_rate": settings.training.learning_rate,
        "separability_auroc": ", ".join(f"{c} {a:.2f}" for c, a in zip(languages, aurocs, strict=False)),
        "last_losses": ", ".join(f"{k} {v:.4f}" for k, v in last.items() if k != "step"),
    }


def _first_tokens(
    chat: ChatModel, anchors: Anchors, data: TrainingData, defence: Defence, settings: Settings, screen: Screen
) -> FirstTokens | None:
    weights: Mapping[str, float] = settings.objective.weights
    if not needs_first_tokens(weights):
        return None
    states = data.plain_states if data.start_states is None else data.start_states[0]
    if states is None:
        raise ValueError("the training data has no states to find the first tokens by")
    first = first_tokens(
        chat.model.get_output_embeddings().weight,
        anchors,
        [_harmless(rows, data.labels) for rows in states],
        languages=settings.data.languages,
        banned=(*defence.banned_ids, *chat.stop_ids),  # an empty reply is not an answer
        scale=parallel.lead(logit_scale, chat.model)[0],
    )
    if first is None:
        if not any(loss.teaches_refusal and not loss.needs_first_tokens for loss in active_losses(weights)):
            raise NothingToAlign(
                "There is nothing to align: no token begins refusals of this model much more often than answers, and the "
                "behaviour loss is the only one used; set refusal or harmfulness in `objective.weights`."
            )
        screen.say(
            "  no token begins refusals much more often than answers, so the losses on first tokens are not used"
        )
        return None
    # The head can be on another device than the embeddings, where the losses are computed.
    return first.to(chat.device)


def _harmless(states: Tensor, labels: Tensor) -> Tensor:
    """Return the states of the harmless rows of a language that were computed, [rows, d]. `states`: of all rows, [all, d]."""
    rows = states[labels.bool()]
    return rows[rows.abs().sum(-1) > 0]


def unscored_line(replies: Sequence[ScoredReply]) -> str | None:
    """Return a warning if more than 2 % of the replies are unscored."""
    count = sum(reply.verdict == Verdict.UNSCORED for reply in replies)
    if count * UNSCORED_ONE_IN <= len(replies):
        return None
    return f"warning: {count} of {len(replies)} replies are unscored, so this error is less reliable"


def separability_lines(languages: Sequence[str], aurocs: Sequence[float]) -> list[str]:
    """Describe how well the model separates harmful from harmless requests in each language.

    Args:
        languages: Codes.
        aurocs: From `language_aurocs`; nan if it could not be measured.
    """
    named = [(display_name(code), a) for code, a in zip(languages, aurocs, strict=True) if a == a]
    if not named:
        return []
    ranked = ", ".join(f"{name} {a:.2f}" for name, a in sorted(named, key=lambda pair: -pair[1]))
    lines = [f"separability of harmful and harmless requests (AUROC, chance 0.5): {ranked}"]
    low = [name for name, a in named if a < MIN_AUROC]
    if low:
        lines.append(
            f"the model hardly separates harmful from harmless requests in {', '.join(low)}; a prompt cannot lower both error "
            "rates there"
        )
    return lines
