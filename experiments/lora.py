"""Train a LoRA adapter of rank 1 exactly like the soft prompt of `mcd`, and test it, as one more row of experiments/results.py.

    python experiments/lora.py --dry-run                      # show the plan and its cost
    python experiments/lora.py --limit 16 --no-hard           # train and test; after Ctrl+C, the same command resumes
    python experiments/lora.py --learning-rate 2e-4,5e-4,1e-3 # train three adapters; the best on validation replies is tested

Everything is that of `mcd` (seed 0) in experiments/results.py: the rows and languages of every step, the losses and their
weights, the batch size, the number of steps, AdamW with its decay and beta2, the validation replies at the start and after the
last step, the test rows, the length of replies and the judges. Two things differ: the chats have no prompt, and the learning
rate is that of --learning-rate. The adapter is on all attention and MLP layers (library peft), in float32. The model stays
frozen.

Each learning rate has a run folder in --output. Replies of other runs there are reused. The verdicts are written to
lora-seed0.json in --records.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from adapter import ALPHA, RANK, Adapter, LoraDefence, trainable_adapter
from planned import Planned, options, parsed, record_of, record_path, run, selected_names
from record import take_record, write_record
from results import LORA

from babelguard.errors import UserError
from babelguard.evaluation.bench import GENERATIONS, Bench
from babelguard.files import locked
from babelguard.jobs.learn import learn
from babelguard.jobs.plan import make_plan
from babelguard.jobs.prepare import Prepared, prepare
from babelguard.jobs.run_folder import open_run, remember_model
from babelguard.method.checkpoint import load_checkpoint
from babelguard.screen import Screen

LEARNING_RATE = "5e-4"


class Trained(NamedTuple):
    """A trained adapter.

    Attributes:
        folder: Its run folder.
        defence: The model with the adapter of the kept step.
        kept_step: The kept step.
        error: Validation error of the kept step.
    """

    folder: Path
    defence: LoraDefence
    kept_step: int
    error: float


def planned_lora(steps: int | None) -> Planned:
    """Return the planned run, with another number of steps if given. Validation is at the start and after the last step."""
    if steps is None:
        return LORA
    if steps < 1:
        raise UserError(f"The number of steps is {steps} (--steps); give at least 1.")
    return LORA._replace(options={**LORA.options, "training.steps": steps, "selection.every": steps})


def learning_rates(given: str) -> dict[str, float]:
    """Return the learning rates by the suffix of their run folder.

    Raises:
        UserError: If one is not a positive number.
    """
    rates = {}
    for text in given.split(","):
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if not 0.0 < rate < float("inf"):
            raise UserError(
                f"The learning rate '{text}' is not a positive number (--learning-rate); give one or more, separated by commas."
            )
        rates[f"lr{rate:g}"] = rate
    return rates


def minutes(prepared: Prepared) -> float:
    """Estimate the minutes of one learning rate. The baselines are tested by experiments/results.py."""
    # The estimate includes choosing the best written prompt, unless the prompt is fixed.
    fixed = prepared.settings.with_section("evaluation", written="medium")
    plan = make_plan(replace(prepared, settings=fixed), 0)
    return plan.minutes - plan.minutes_of_baseline


def train_adapter(
    prepared: Prepared, adapter: Adapter, rate: float, folder: Path, reuse: Sequence[Path], screen: Screen
) -> Trained:
    """Train an adapter in its run folder, or resume it there.

    Args:
        prepared: The loaded inputs.
        adapter: The adapter, in the model.
        rate: The learning rate.
        folder: The run folder.
        reuse: Folders of other runs, whose replies are copied if they are the same.
        screen: Shows progress.
    """
    settings = prepared.settings
    facts = prepared.facts | {
        "defence": LoraDefence.name,
        "adapter": f"rank {RANK}, alpha {ALPHA}, learning rate {rate:g}",
    }
    remember_model(open_run(folder, settings, facts), settings.model)
    here = replace(prepared, output=folder)
    model = here.target
    bench = Bench(model, here.judges.selection, folder, reuse)
    theta, learned = learn(here, model, bench, trainable_adapter(adapter, rate, settings.seed), screen)
    checkpoint = load_checkpoint(folder / "training")
    error = float("inf") if checkpoint is None else checkpoint[1].best_score
    return Trained(folder, LoraDefence(adapter, theta, settings.seed), learned["kept_step"], error)


def ask_test_rows(prepared: Prepared, trained: Trained, reuse: Sequence[Path], screen: Screen) -> None:
    """Reply to the test rows with an adapter, and judge the replies."""
    here = replace(prepared, output=trained.folder)
    budgets = here.budgets(here.settings.evaluation.reply_tokens)
    bench = Bench(here.target, here.judges.main, trained.folder, reuse)
    screen.title("Result")
    with screen.progress("lora: replies") as (tick, _):
        bench.ask(trained.defence, here.test_questions, tokens=budgets, tick=tick)


def do_lora(planned: Planned, args: argparse.Namespace, screen: Screen) -> None:
    """Train and test the adapter, and write its record. A run that has a record is not repeated."""
    rates = {f"{planned.name}-{suffix}": rate for suffix, rate in learning_rates(args.learning_rate).items()}
    rates = {name: rates[name] for name in selected_names(list(rates), args.only)}
    if (record := record_of(planned, args)) is not None:
        screen.say(f"{planned.name} is done ({record.config['run']['adapter']}): {record_path(planned, args)}")
        return
    prepared = prepare(planned.settings(args), args.output / planned.name, screen)
    adapter = Adapter(prepared.chat.model, planned.seed)
    training, each = prepared.settings.training, minutes(prepared)
    screen.title(f"{len(rates)} runs, about {len(rates) * each:.0f} minutes")
    for name in rates:
        screen.say(f"  {name:28} about {each:.0f} minutes")
    screen.say(
        f"LoRA of rank {RANK} (alpha {ALPHA}) on {len(adapter.layers)} linear layers, {len(adapter.start)} weights; "
        f"{training.steps} steps of {training.batch_size} rows, then {len(prepared.test_questions)} test replies"
    )
    if args.dry_run:
        return
    trained = []
    for name, rate in rates.items():
        screen.title(f"Run {name}")
        folder = args.output / name
        with locked(folder):
            trained.append(train_adapter(prepared, adapter, rate, folder, other_runs(args, folder), screen))
    best = min(trained, key=lambda one: one.error)
    if len(trained) > 1:
        screen.say(f"lowest error on validation replies: {best.folder.name}, {100 * best.error:.1f} %")
    with locked(best.folder):
        ask_test_rows(prepared, best, other_runs(args, best.folder), screen)
        taken = take_record(best.folder, {"written": "", "kept_step": best.kept_step})
    write_record(taken, record_path(planned, args))
    screen.say(f"Written to {record_path(planned, args)}; experiments/results.py shows it.")


def other_runs(args: argparse.Namespace, folder: Path) -> list[Path]:
    """Return the other runs whose replies can be reused."""
    logs = sorted(args.output.glob(f"*/{GENERATIONS}"))
    return [*(log.parent for log in logs if log.parent != folder), *args.reuse]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--learning-rate", default=LEARNING_RATE, help="learning rate of the adapter, or several, separated by commas"
    )
    parser.add_argument("--steps", type=int, default=None, help="training steps; default: those of mcd")
    args = parsed(parser, "results")
    do_lora(planned_lora(args.steps), args, Screen())


if __name__ == "__main__":
    run(main)
