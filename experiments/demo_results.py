"""Make the tables of docs/results.md: all presets on the demo model, trained on five languages and tested on nine.

    python experiments/demo_results.py --dry-run     # list the runs, which of them are done, and the cost
    python experiments/demo_results.py               # do the runs; after Ctrl+C, the same command resumes

Each run has an ordinary run folder in --output. Replies that several runs share (baselines, anchors) are generated once. The
verdicts of finished runs are kept in experiments/verdicts. A run with a record there is not repeated, so the tables can be
made on any machine. When all runs are done, table.md, compact.md, metrics.json and outcomes.png are written to --output.
"""

from __future__ import annotations

from itertools import product

from compact import compact
from planned import NAMES, Planned, all_replies, arguments, do_runs, judge_of, run, write_tables

from babelguard.config.sections import PAPER_LANGUAGES
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import ScoredReply
from babelguard.files import write_text
from babelguard.judges import Verdict
from babelguard.report.short_table import difference_text

LANGUAGES = (*PAPER_LANGUAGES, "it", "ar", "zh", "th")
SEEDS = (0, 1, 2)
PRESETS = ("mcd", "dro", "mcd-mixture", "mcd-code", "mcd-paper")


def run_of(preset: str, seed: int) -> Planned:
    return Planned(preset, seed, {"preset": preset, "test_languages": LANGUAGES})


PLAN = [
    run_of("written", 0),
    *(run_of("dro", seed) for seed in SEEDS),
    *(run_of(preset, 0) for preset in PRESETS[2:]),
    *(run_of("mcd", seed) for seed in SEEDS),
]


def strict_differences(scored: list[ScoredReply]) -> str:
    """List the differences between `mcd` and the others if harmless answers in another language count as errors."""
    strict = [
        one._replace(verdict=Verdict.BROKEN) if one.label == "harmless" and one.foreign else one for one in scored
    ]
    names = {one.defence for one in strict}
    pairs = [("mcd", other) for other in ("written", *PRESETS[1:]) if {"mcd", other} <= names]
    metrics = compute_metrics(strict, **NAMES, judge="", trained=PAPER_LANGUAGES, pairs=pairs)
    return "".join(f"- {difference_text(found)}\n" for found in metrics.differences)


def main() -> None:
    args = arguments(__doc__, "results")
    chosen = do_runs(PLAN, args)
    if chosen is not None:
        pairs = [(a, b) for a, b in product(PRESETS, ("written", "dro")) if a != b]
        pairs += [("mcd", other) for other in PRESETS[2:]]
        scored = all_replies(chosen, args)
        metrics = write_tables(scored, args.output, judge_of(chosen, args), PAPER_LANGUAGES, pairs)
        page = compact(metrics) + "\nAnswers in another language as errors:\n\n" + strict_differences(scored)
        write_text(args.output / "compact.md", page)


if __name__ == "__main__":
    run(main)
