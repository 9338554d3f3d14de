"""What the experiments share: planned runs, their cost, doing them one after the other, and one table of them all."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from record import Record, read_record, scored_replies, take_record, write_record

from babelguard.config.settings import load_settings
from babelguard.corpus import load_corpus
from babelguard.jobs.defend import BENCHMARK, Job, fit
from babelguard.errors import UserError
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Metrics, ScoredReply
from babelguard.report.picture import draw_outcomes
from babelguard.report.table import markdown, sheet, terminal
from babelguard.judges import RefusalJudge
from babelguard.screen import Screen

BASELINES = ("none", "written")
NAMES: Any = {"model": "demo", "benchmark": BENCHMARK, "split": "test", "judge": RefusalJudge.name}


class Planned(NamedTuple):
    """One run: its name in tables, its seed, and its settings."""

    label: str
    seed: int
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.label}-seed{self.seed}"

    def asked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What `fit` is given."""
        return {"model": "demo", "seed": self.seed, **options, **self.settings}


def run(main: Callable[[], None]) -> None:
    """Run an experiment; what a user can mend is one sentence, and Ctrl+C says how to go on."""
    try:
        main()
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. The same command resumes.") from None


def arguments(description: str | None, name: str) -> argparse.Namespace:
    """The options of an experiment."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs") / name, help="where the runs are made")
    records = Path(__file__).parent / "verdicts" / name
    parser.add_argument("--records", type=Path, default=records, help="where the verdicts of finished runs are kept")
    parser.add_argument(
        "--reuse", type=Path, action="append", default=[], help="another run whose replies are taken over"
    )
    parser.add_argument("--only", default=None, help="only these runs, by the names that --dry-run prints")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--limit", type=int, default=None, help="test rows per label")
    parser.add_argument("--dry-run", action="store_true", help="print what is to do and what it costs")
    return parser.parse_args()


def minutes_of(planned: Planned, output: Path, options: Mapping[str, Any], first: bool) -> float:
    """What a run will cost, as its own first screen says; the baselines are counted with the first run alone."""
    settings = load_settings(planned.asked(options))
    if settings.wanted_languages:  # the cost is that of so many languages, whichever: choosing them takes minutes
        some = load_corpus().split("train").languages[: settings.wanted_languages]
        settings = settings.model_copy(update={"languages": some})
    plan = Job(settings, output / planned.name, Screen()).costs
    return plan.minutes if first else plan.minutes - plan.minutes_of_baseline


def record_of(planned: Planned, args: argparse.Namespace) -> Record | None:
    """The record of a run that is done; also on a machine that has no other trace of it."""
    settings = load_settings(planned.asked({"dtype": args.dtype, "limit": args.limit}))
    return read_record(args.records / f"{planned.name}.json", settings)


def do(plan: Sequence[Planned], args: argparse.Namespace) -> list[Planned] | None:
    """Do the runs that are not done; Ctrl+C at any time, the same command resumes.

    Returns:
        The runs that were asked for, or None after `--dry-run`.
    """
    chosen = [p for p in plan if args.only is None or p.name in args.only.split(",")]
    unknown = set() if args.only is None else set(args.only.split(",")) - {p.name for p in plan}
    if unknown:
        strangers = ", ".join(f"'{name}'" for name in sorted(unknown))
        raise UserError(f"--only names no run with {strangers}; there are {', '.join(p.name for p in plan)}.")
    options = {"dtype": args.dtype, "limit": args.limit}
    screen = Screen()
    costs: dict[str, float] = {}
    done = {planned.name for planned in chosen if record_of(planned, args) is not None}
    for planned in chosen:
        # The first run that is made on this machine makes the baselines too.
        first = not any(costs.values()) and not list(args.output.glob("*/metrics.json"))
        costs[planned.name] = 0.0 if planned.name in done else minutes_of(planned, args.output, options, first)
    screen.title(f"{len(chosen)} runs, about {sum(costs.values()):.0f} minutes to go")
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
        folders = [args.output / p.name for p in plan if p != planned]
        others = [folder for folder in folders if (folder / "generations.jsonl").exists()]
        fit(reuse=[*others, *args.reuse], screen=screen, output=args.output / planned.name, **planned.asked(options))
        write_record(take_record(args.output / planned.name), args.records / f"{planned.name}.json")
        screen.say(f"  took {(time.monotonic() - began) / 60:.1f} minutes")
    return chosen


def all_replies(chosen: Sequence[Planned], args: argparse.Namespace) -> list[ScoredReply]:
    """The verdicts of all runs, each run's own defence under its label; the baselines are those of the first."""
    found = []
    for k, planned in enumerate(chosen):
        record = record_of(planned, args)
        if record is None:
            raise UserError(f"The run {planned.name} has no record in {args.records}.")
        names = {name: name for name in BASELINES} if k == 0 else {}
        if record.preset not in BASELINES:
            names[record.preset] = planned.label
        found += scored_replies(record, names)
    return found


def together(
    scored: Sequence[ScoredReply],
    output: Path,
    trained: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    learned: Mapping[str, Sequence[str]] | None = None,
) -> Metrics:
    """One table of all runs; writes table.md, metrics.json and outcomes.png.

    Args:
        scored: From `all_replies`.
        output: The folder that they are written to.
        trained: Languages that count as trained on.
        pairs: Names whose difference is tested, the better one first.
        learned: What each defence was trained on, for the rows of metrics.json, where that is not `trained`.
    """
    names = {reply.defence for reply in scored}
    metrics = compute_metrics(
        scored,
        **NAMES,
        trained=tuple(trained),
        pairs=[(a, b) for a, b in pairs if {a, b} <= names],
    )
    laid = sheet(metrics, "long")
    Screen().show(terminal(laid))
    output.mkdir(parents=True, exist_ok=True)
    (output / "table.md").write_text(markdown(laid), encoding="utf-8")
    draw_outcomes(metrics, output / "outcomes.png")
    if learned is not None:
        rows = [
            row.model_copy(update={"trained": row.language in learned.get(row.defence, ())}) for row in metrics.rows
        ]
        # Trained and unseen mean other languages for each defence, so only what is over all languages stays.
        kept = {
            part: [one for one in getattr(metrics, part) if one.group == "all"] for part in ("summary", "differences")
        }
        metrics = metrics.model_copy(
            update={"rows": tuple(rows)} | {part: tuple(found) for part, found in kept.items()}
        )
    (output / "metrics.json").write_text(metrics.model_dump_json(indent=2) + "\n", encoding="utf-8")
    Screen().say(f"Made {output}/table.md, metrics.json, outcomes.png")
    return metrics
