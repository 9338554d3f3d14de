"""Run experiments: list the planned runs and their cost, run them one after the other, and make one table of all of them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from record import Record, read_record, scored_replies, take_record, write_record

from babelguard import fit
from babelguard.benchmarks.babelguard_corpus import BabelguardCorpus
from babelguard.config import Settings, load_settings
from babelguard.corpus import load_corpus
from babelguard.errors import UserError
from babelguard.evaluation.bench import GENERATIONS
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Metrics, ScoredReply
from babelguard.files import write_text
from babelguard.jobs.defend import Defend
from babelguard.jobs.plan import Plan, Speed
from babelguard.report.markdown import to_markdown
from babelguard.report.picture import draw_outcomes
from babelguard.report.table import outcome_table
from babelguard.report.terminal import to_terminal
from babelguard.screen import Screen, Silent

BASELINES = ("none", "written")
NAMES: Any = {"benchmark": BabelguardCorpus.name, "split": "test"}
DEMO = "demo"


class Planned(NamedTuple):
    """A planned run.

    Attributes:
        label: Its name in tables.
        seed: Its random seed.
        options: Its settings, by option or dotted setting name; see `load_settings`.
    """

    label: str
    seed: int
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return f"{self.label}-seed{self.seed}"

    def settings(self, args: argparse.Namespace) -> Settings:
        """Build the settings of the run. The options of the script have lower priority than those of the run."""
        given = {"model": args.model, "seed": self.seed, "dtype": args.dtype, "limit": args.limit}
        given["evaluation.hard"] = not args.no_hard
        return load_settings(given | dict(self.options))


def run(main: Callable[[], None]) -> None:
    """Run a script. Errors that the user can fix are printed as one sentence."""
    try:
        main()
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. The same command resumes.") from None


def arguments(description: str | None, name: str) -> argparse.Namespace:
    """Parse the options of an experiment."""
    return parsed(options(description), name)


def parsed(parser: argparse.ArgumentParser, name: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse options. Each model has its own folders by default, named after the experiment."""
    args = parser.parse_args(argv)
    folder = name if args.model == DEMO else f"{name}-{Path(args.model).name}"
    args.output = args.output or Path("runs") / folder
    args.records = args.records or Path(__file__).parent / "verdicts" / folder
    return args


def options(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all experiments have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEMO, help="the model; default: demo")
    parser.add_argument("--output", type=Path, default=None, help="folder of the runs and the tables")
    parser.add_argument("--records", type=Path, default=None, help="folder of the verdicts of finished runs")
    parser.add_argument(
        "--reuse",
        type=Path,
        action="append",
        default=[],
        help="another run whose replies are copied if they are the same",
    )
    parser.add_argument("--only", default=None, help="names of the runs to do, separated by commas; see --dry-run")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, float16")
    parser.add_argument("--limit", type=int, default=None, help="test rows per label and language; default: all")
    parser.add_argument("--no-hard", action="store_true", help="do not test the harmless rows that look harmful")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and their cost, and stop")
    return parser


def estimate(planned: Planned, args: argparse.Namespace, speed: Speed | None) -> Plan:
    """Estimate the time of a run. The speed of the model is measured if it is None."""
    settings = planned.settings(args)
    if count := settings.data.number_to_choose:
        # Choosing the languages takes minutes, and the estimate only depends on their number.
        settings = settings.with_section("data", languages=load_corpus().split("train").languages[:count])
    return Defend(settings, args.output / planned.name, Silent()).estimate(speed)


def record_path(planned: Planned, args: argparse.Namespace) -> Path:
    """Return the file of the record of a run."""
    return Path(args.records) / f"{planned.name}.json"


def record_of(planned: Planned, args: argparse.Namespace) -> Record | None:
    """Return the record of a run. None if the run is not finished."""
    return read_record(record_path(planned, args), planned.settings(args))


def selected_names(names: Sequence[str], only: str | None) -> list[str]:
    """Return the names of the runs that `--only` selects, in the order of the plan.

    Raises:
        UserError: If it names a run that is not planned.
    """
    selected = set(names if only is None else only.split(","))
    if unknown := sorted(selected - set(names)):
        raise UserError(f"There is no run '{unknown[0]}' (--only); available: {', '.join(names)}.")
    return [name for name in names if name in selected]


def do_runs(plan: Sequence[Planned], args: argparse.Namespace) -> list[Planned] | None:
    """Run the planned runs that have no record. After Ctrl+C, the same command resumes.

    Returns:
        The selected runs, or None after `--dry-run`.

    Raises:
        UserError: If `--only` names a run that is not planned, or a record was made with other settings.
    """
    selected = selected_names([planned.name for planned in plan], args.only)
    chosen = [planned for planned in plan if planned.name in selected]
    screen = Screen()
    costs: dict[str, float] = {}
    speed: Speed | None = None
    done = {planned.name for planned in chosen if record_of(planned, args) is not None}
    for planned in chosen:
        # The first run on this machine also generates the replies of the baselines.
        first = not any(costs.values()) and not list(args.output.glob("*/metrics.json"))
        if planned.name in done:
            costs[planned.name] = 0.0
            continue
        cost = estimate(planned, args, speed)
        speed = cost.speed
        costs[planned.name] = cost.minutes - (0 if first else cost.minutes_of_baseline)
    screen.title(f"{len(chosen)} runs, about {sum(costs.values()):.0f} minutes left")
    for planned in chosen:
        left = "done" if planned.name in done else f"about {costs[planned.name]:.0f} minutes"
        screen.say(f"  {planned.name:28} {left}")
    if args.dry_run:
        return None
    for number, planned in enumerate(chosen, start=1):
        if planned.name in done:
            continue
        began = time.monotonic()
        screen.title(f"Run {number} of {len(chosen)}: {planned.name}")
        folders = [args.output / other.name for other in plan if other != planned]
        others = [folder for folder in folders if (folder / GENERATIONS).exists()]
        folder = args.output / planned.name
        fit(planned.settings(args), output=folder, reuse=[*others, *args.reuse], screen=screen)
        write_record(take_record(folder), record_path(planned, args))
        screen.say(f"  took {(time.monotonic() - began) / 60:.1f} minutes")
    return chosen


def all_replies(chosen: Sequence[Planned], args: argparse.Namespace) -> list[ScoredReply]:
    """Return the verdicts of all runs. The trained defence of a run has the run's label.

    The verdicts of the baselines are taken from the first run only, because all runs share them.

    Raises:
        UserError: If a run has no record, or two runs had different judges or test rows.
    """
    found = []
    first: Record | None = None
    for k, planned in enumerate(chosen):
        record = record_of(planned, args)
        if record is None:
            raise UserError(f"The run {planned.name} has no record in {args.records}.")
        first = first or record
        if (record.judge, record.corpus) != (first.judge, first.corpus):
            raise UserError(
                f"The runs {chosen[0].name} and {planned.name} were judged by different judges or on different rows "
                f"({first.judge}, {record.judge}), so they cannot be in one table; repeat the older one, or choose with --only."
            )
        names = {name: name for name in BASELINES} if k == 0 else {}
        if record.trained not in BASELINES:
            names[record.trained] = planned.label
        found += scored_replies(record, names)
    return found


def judge_of(chosen: Sequence[Planned], args: argparse.Namespace) -> str:
    """Return name and version of the judge of the runs."""
    return next((record.judge for planned in chosen if (record := record_of(planned, args)) is not None), "")


def write_tables(
    scored: Sequence[ScoredReply],
    output: Path,
    model: str,
    judge: str,
    trained: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    learned: Mapping[str, Sequence[str]] | None = None,
) -> Metrics:
    """Show one table of all runs, and write table.md, metrics.json and outcomes.png.

    Args:
        scored: The verdicts, from `all_replies`.
        output: The folder to write to.
        model: Name of the model.
        judge: Name of the judge.
        trained: The training languages of all runs. Empty if they differ between runs.
        pairs: Defences (a, b) to compare, as a minus b. Pairs without replies are left out.
        learned: Training languages of each defence, for the rows of metrics.json, if they differ between runs.
    """
    names = {reply.defence for reply in scored}
    metrics = compute_metrics(
        scored,
        **NAMES,
        model=model,
        judge=judge,
        trained=tuple(trained),
        pairs=[(a, b) for a, b in pairs if {a, b} <= names],
    )
    table = outcome_table(metrics, "long")
    Screen().show(to_terminal(table))
    write_text(output / "table.md", to_markdown(table))
    draw_outcomes(metrics, output / "outcomes.png")
    if learned is not None:
        metrics = _mark_trained(metrics, learned)
    write_text(output / "metrics.json", metrics.model_dump_json(indent=2) + "\n")
    Screen().say(f"Written to {output}: table.md, metrics.json, outcomes.png")
    return metrics


def _mark_trained(metrics: Metrics, learned: Mapping[str, Sequence[str]]) -> Metrics:
    """Mark the training languages of each defence in its rows.

    Summaries and differences are kept for all languages only, because the other groups differ between defences.
    """
    rows = [row.model_copy(update={"trained": row.language in learned.get(row.defence, ())}) for row in metrics.rows]
    summary = [one for one in metrics.summary if one.group == "all"]
    differences = [one for one in metrics.differences if one.group == "all"]
    return metrics.model_copy(
        update={"rows": tuple(rows), "summary": tuple(summary), "differences": tuple(differences)}
    )
