"""The numbers of docs/results.md: the defences on the demo model, trained on five languages, tested on nine.

    python experiments/demo_results.py --dry-run     # what will be done, what is done already, and the cost
    python experiments/demo_results.py               # do it; Ctrl+C at any time, the same command resumes

Every run is an ordinary run folder below --output. Replies that two runs share (the baselines, the anchors) are made
once. The verdicts of a finished run are kept in experiments/verdicts, so a run that is recorded there is done, and the
tables can be made anywhere. When all runs are done, table.md, compact.md, metrics.json and outcomes.png are written to --output.
"""

from __future__ import annotations

from itertools import product

from compact import compact
from planned import NAMES, Planned, all_replies, arguments, do, run, together

from babelguard.config.settings import PAPER_LANGUAGES
from babelguard.report.short_table import difference_text
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import ScoredReply

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


def strictly(scored: list[ScoredReply]) -> str:
    """The differences of `mcd` to the others, an answer in another language counted like a broken reply."""
    strict = [one._replace(verdict="broken") if one.label == "harmless" and one.foreign else one for one in scored]
    names = {one.defence for one in strict}
    pairs = [("mcd", other) for other in ("written", *PRESETS[1:]) if {"mcd", other} <= names]
    metrics = compute_metrics(strict, **NAMES, trained=PAPER_LANGUAGES, pairs=pairs)
    return "".join(f"- {difference_text(found)}\n" for found in metrics.differences)


def main() -> None:
    args = arguments(__doc__, "results")
    chosen = do(PLAN, args)
    if chosen is not None:
        pairs = [(a, b) for a, b in product(PRESETS, ("written", "dro")) if a != b]
        pairs += [("mcd", other) for other in PRESETS[2:]]
        scored = all_replies(chosen, args)
        metrics = together(scored, args.output, PAPER_LANGUAGES, pairs)
        page = compact(metrics) + "\nAnswers elsewhere as errors:\n\n" + strictly(scored)
        (args.output / "compact.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run(main)
