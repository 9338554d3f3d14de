"""The numbers of docs/results.md: the defences on the demo model, trained on five languages, tested on eleven.

    python experiments/demo_results.py --dry-run     # what will be done, what is done already, and the cost
    python experiments/demo_results.py               # do it; Ctrl+C at any time, the same command resumes

Every run is an ordinary run folder below --output. Replies that two runs share (the baselines, the anchors) are made
once. When all runs are done, table.md, metrics.json and outcomes.png are written beside them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

from babelguard.config import PAPER_LANGUAGES, load_settings
from babelguard.defend import BENCHMARK, Job, fit
from babelguard.errors import UserError
from babelguard.evaluation.metrics import ScoredReply, compute_metrics
from babelguard.evaluation.picture import draw_outcomes
from babelguard.evaluation.tables import markdown, sheet, terminal
from babelguard.judges import RefusalJudge
from babelguard.screen import Screen

OUTPUT = Path("runs/results")


class Planned(NamedTuple):
    """One run."""

    preset: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.preset}-seed{self.seed}"


PLAN = [
    Planned("written", 0),
    *(Planned(preset, 0) for preset in ("mcd", "dro", "mcd-mixture", "mcd-code", "mcd-paper")),
    *(Planned(preset, seed) for seed in (1, 2) for preset in ("mcd", "dro")),
]


def scored_replies(run: Path, planned: Planned) -> list[ScoredReply]:
    """The verdicts of a run's test replies; those of the baselines only from the run `written`."""
    wanted = ("none", "written") if planned.preset == "written" else (planned.preset,)
    lines = (run / f"verdicts.{RefusalJudge.name}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == "test" and row["defence"] in wanted]
    return [ScoredReply(r["defence"], r["seed"], r["language"], r["id"], r["label"], r["verdict"]) for r in rows]


def minutes_of(planned: Planned, output: Path, options: dict[str, object]) -> float:
    """What a run will cost, as its own first screen says; the baselines are counted once."""
    from babelguard.plan import make_plan

    settings = load_settings({"model": "demo", "preset": planned.preset, "seed": planned.seed} | options)
    job = Job(settings, output / planned.name, Screen())
    plan = make_plan(settings, job.chat, job.train_rows, job.test, job.test_languages, len(job.start_ids))
    return plan.minutes if planned.preset == "written" else plan.minutes - plan.minutes_of_baseline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--presets", default=None, help="only these, separated by commas")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--limit", type=int, default=None, help="test rows per label: a look, no result")
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()

    chosen = [p for p in PLAN if args.presets is None or p.preset in args.presets.split(",")]
    options = {"dtype": args.dtype, "limit": args.limit}
    screen = Screen()
    done = [p for p in chosen if (args.output / p.name / "metrics.json").exists()]
    costs = {p.preset: minutes_of(p, args.output, options) for p in dict.fromkeys(chosen) if p not in done}
    left = sum(costs[planned.preset] for planned in chosen if planned not in done)
    screen.title(f"{len(chosen)} runs, {len(done)} done, about {left:.0f} minutes to go")
    for planned in chosen:
        screen.say(f"  {planned.name:20} {'done' if planned in done else f'about {costs[planned.preset]:.0f} minutes'}")
    if args.dry_run:
        return
    for number, planned in enumerate(chosen, start=1):
        began = time.monotonic()
        screen.title(f"Run {number} of {len(chosen)}: {planned.name}")
        earlier = [args.output / p.name for p in chosen if (args.output / p.name / "generations.jsonl").exists()]
        others = [run for run in earlier if run.name != planned.name]
        run = {"preset": planned.preset, "seed": planned.seed, "output": args.output / planned.name}
        fit("demo", reuse=others, screen=screen, **run, **options)
        screen.say(f"  took {(time.monotonic() - began) / 60:.1f} minutes")

    scored = [reply for planned in chosen for reply in scored_replies(args.output / planned.name, planned)]
    names = {reply.defence for reply in scored}
    pairs = [(a, b) for a in names - {"none", "written"} for b in ("written", "dro") if a != b and b in names]
    metrics = compute_metrics(
        scored,
        model="demo",
        benchmark=BENCHMARK,
        split="test",
        judge=RefusalJudge.name,
        trained=PAPER_LANGUAGES,
        pairs=sorted(pairs),
    )
    laid = sheet(metrics, "long")
    screen.show(terminal(laid))
    (args.output / "table.md").write_text(markdown(laid), encoding="utf-8")
    (args.output / "metrics.json").write_text(metrics.model_dump_json(indent=2) + "\n", encoding="utf-8")
    draw_outcomes(metrics, args.output / "outcomes.png")
    screen.say(f"Made {args.output}/table.md, metrics.json, outcomes.png")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None
