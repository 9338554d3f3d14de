"""The learning stage of the main job: anchors, safety space, training, and what is said of each on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from babelguard.analysis.separability import BLIND, language_aurocs
from babelguard.anchors import Anchors, collect_anchors, first_tokens
from babelguard.config import Settings
from babelguard.corpus import Corpus
from babelguard.defence import Defence
from babelguard.errors import NothingToAlign
from babelguard.evaluation.measure import Bench, Question, mean_error, questions
from babelguard.hook import embedding_rms, logit_scale
from babelguard.languages import display_name
from babelguard.models.load import ChatModel
from babelguard.objective import FirstTokens
from babelguard.screen import Screen
from babelguard.space import SafetySpace, fit_space
from babelguard.trainer import TrainingData, train
from babelguard.training_data import training_data

LOSS_WORDS = {
    "refusal": "refusal",
    "harmfulness": "harmfulness",
    "residual": "drift",
    "alignment": "languages apart",
    "behaviour": "first word",
    "opening": "answers' openings",
    "total": "total",
}


def learn(
    bench: Bench,
    soft: Defence,
    rows: Corpus,
    validation: Sequence[Question],
    settings: Settings,
    folder: Path,
    screen: Screen,
) -> tuple[Tensor, dict[str, Any]]:
    """Train a soft prompt.

    Args:
        bench: The model and the logs of the run.
        soft: The soft prompt as it is before training.
        rows: The training rows.
        validation: What the prompt is chosen on.
        settings: Of the run.
        folder: Of the run; the safety space and the checkpoints are written to it.
        screen: Shows what is going on.

    Returns:
        theta as kept, [n, d] on the CPU, and what the prompt's card says of its training.

    Raises:
        NothingToAlign: where the model does not refuse, or refuses everything.
    """
    chat, start, slot = bench.chat, soft.theta, soft.slot
    if start is None or slot is None:
        raise ValueError("a written prompt has no vectors to train")
    anchors = _ask_anchors(bench, rows, settings, screen)
    space = _fit(anchors, settings, folder, screen)
    data = training_data(chat, soft, rows, settings.languages)
    first = _first_words(chat, anchors, data, soft, settings, screen)
    aurocs = language_aurocs(data.base_states, data.labels, data.groups, seed=settings.seed)
    for line in told_apart(settings.languages, aurocs):
        screen.say(f"  {line}")
    screen.title(f"Training {len(start)} soft tokens")
    with screen.progress("steps") as (tick, note):
        scores: list[str] = []

        def report(step: int, terms: dict[str, float]) -> None:
            tick(step, settings.steps)
            note("  ".join([*(f"{LOSS_WORDS[k]} {v:.3f}" for k, v in terms.items()), *scores[-1:]]))

        def validate(theta: Tensor, step: int) -> float:
            defence = Defence(settings.preset, settings.seed, theta=theta, slot=slot, carrier=soft.carrier)
            score = mean_error(bench.ask(defence, validation, tokens=settings.reply_tokens))
            scores.append(f"validation error {100 * score:.1f} %")
            screen.say(f"  step {step}: mean error on validation replies {100 * score:.1f} %")
            return score

        theta, progress = train(
            chat.model,
            start,
            slot.token_ids,
            data,
            space,
            first,
            settings,
            step_size=settings.learning_rate * embedding_rms(chat.model),
            folder=folder / "training",
            validate=validate if settings.select == "validation" else None,
            report=report,
        )
    kept = progress.best_step if settings.select == "validation" else progress.step
    screen.say(f"  kept the prompt of step {kept}")
    if progress.halved:
        times = "once" if progress.halved == 1 else f"{progress.halved} times"
        screen.say(f"  {times} the steps tore the language apart; training went on from the best prompt, half as fast")
    last = progress.history[-1] if progress.history else {}
    return theta, {
        "steps": settings.steps,
        "kept_step": kept,
        "step_size_halved": progress.halved,
        "train_rows": len(rows.rows),
        "learning_rate": settings.learning_rate,
        "told_apart_auroc": ", ".join(f"{c} {a:.2f}" for c, a in zip(settings.languages, aurocs, strict=True)),
        "last_losses": ", ".join(f"{k} {v:.4f}" for k, v in last.items() if k != "step"),
    }


def _ask_anchors(bench: Bench, rows: Corpus, settings: Settings, screen: Screen) -> Anchors:
    screen.title("Anchors: how this model refuses")
    codes = settings.languages if settings.anchors == "training" else ("en",)
    asked = questions(rows.select(codes, settings.anchor_rows), codes, "train")
    with screen.progress("anchor replies") as (tick, _):
        return collect_anchors(bench, asked, tokens=settings.anchor_tokens, tick=tick)


def _fit(anchors: Anchors, settings: Settings, folder: Path, screen: Screen) -> SafetySpace:
    space = fit_space(
        anchors.states,
        anchors.compliance,
        anchors.harmless,
        dimensions=settings.dimensions,
        harmfulness_folds=settings.harmfulness_folds,
        seed=settings.seed,
    )
    space.save(folder / "safety_space.safetensors")
    refused = float((anchors.compliance == 0).float().mean())
    screen.say(
        f"  refused {100 * refused:.0f} % of anchor replies; {len(space.components)} directions explain "
        f"{100 * space.explained:.0f} % of the variance"
    )
    return space


def _first_words(
    chat: ChatModel, anchors: Anchors, data: TrainingData, soft: Defence, settings: Settings, screen: Screen
) -> FirstTokens | None:
    first = None
    if settings.behaviour_weight or settings.opening_weight:
        first = first_tokens(
            chat.model.get_output_embeddings().weight,
            anchors,
            data.base_states,
            data.labels,
            languages=len(settings.languages),
            banned=(*soft.banned_ids, *chat.stop_ids),  # a reply that ends before it begins is no answer
            scale=logit_scale(chat.model),
        )
        if first is None:
            screen.say("  no word opens refusals more often than answers, so the terms on first words are left out")
    if first is None and not (settings.refusal_weight or settings.harmfulness_weight):
        raise NothingToAlign(
            "There is nothing to align: no word opens this model's refusals more often than its answers, and the "
            "first-word term is the only one that is switched on; set refusal_weight or harmfulness_weight."
        )
    return first


def told_apart(languages: Sequence[str], aurocs: Sequence[float]) -> list[str]:
    """What is said of how well the model tells harm in each language, before hours are spent on one in which it cannot.

    Args:
        languages: Codes.
        aurocs: From `language_aurocs`, nan where nothing could be held out.
    """
    named = [(display_name(code), a) for code, a in zip(languages, aurocs, strict=True) if a == a]
    if not named:
        return []
    ranked = ", ".join(f"{name} {a:.2f}" for name, a in sorted(named, key=lambda pair: -pair[1]))
    lines = [f"harmful and harmless told apart inside the model (AUROC, 0.5 is chance): {ranked}"]
    blind = [name for name, a in named if a < BLIND]
    if blind:
        lines.append(
            f"in {', '.join(blind)} the model itself hardly sees harm, so no prompt can mend both errors there"
        )
    return lines
