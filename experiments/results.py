"""Make the tables of docs/results.md: all presets on a model, trained on five languages and tested on twelve.

    python experiments/results.py --dry-run     # list the runs, which of them are done, and the cost
    python experiments/results.py               # do the runs; after Ctrl+C, the same command resumes
    python experiments/results.py --model qwen2.5-coder-0.5b --only mcd-seed0    # another model

The published methods have two runs each: one as published, and one (`...-same`) with the start prompt, the number of steps, the
optimiser and the selection of `mcd`, so that only the objective differs. If experiments/lora.py has been run, its adapter is one
more row of the tables. `--only NAME,NAME` does some of the runs, so that two processes can share the work.

Each run has an ordinary run folder in --output. Replies that several runs share (baselines, anchors) are generated once. The
verdicts of finished runs are kept in experiments/verdicts. A run with a record there is not repeated, so the tables can be
made on any machine. When all runs are done, table.md, compact.md, aims.md, metrics.json and outcomes.png are written to --output.
"""

from __future__ import annotations

from itertools import product

from aims import aims
from compact import compact
from heads import LANGUAGES, TRAINED, read_heads
from planned import NAMES, Planned, all_replies, arguments, do_runs, judge_of, record_path, run, write_tables

from babelguard.config.presets import PRESETS as SETTINGS_OF
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import ScoredReply
from babelguard.files import write_text
from babelguard.judges import Verdict
from babelguard.report.short_table import difference_text

SEEDS = (0, 1, 2)
# Validation replies are only generated before the first step and after the last one, to save time.
LATE = {"selection.every": SETTINGS_OF["mcd"]["training"]["steps"]}
PUBLISHED = ("dro", "mcd-mixture", "mcd-code", "mcd-paper")


def run_of(preset: str, seed: int, same: bool = False) -> Planned:
    options = {"preset": preset, "languages": TRAINED, "test_languages": LANGUAGES}
    if preset == "mcd":
        options |= LATE
    if same:
        ours = SETTINGS_OF["mcd"]
        # The schedule of languages belongs to the published method, so it is kept.
        training = {name: value for name, value in ours["training"].items() if name != "schedule"}
        for section, values in (("training", training), ("selection", ours["selection"])):
            options |= {f"{section}.{name}": value for name, value in values.items()}
        options |= LATE
    return Planned(f"{preset}-same" if same else preset, seed, options)


PLAN = [
    run_of("written", 0),
    *(run_of("mcd", seed) for seed in SEEDS),
    *(run_of("dro", seed) for seed in SEEDS),
    *(run_of(preset, 0) for preset in PUBLISHED[1:]),
    *(run_of(preset, 0, same=True) for preset in PUBLISHED),
]

# Trained and recorded by experiments/lora.py, with the settings of `mcd`.
LORA = run_of("mcd", 0)._replace(label="lora")


def strict_differences(scored: list[ScoredReply]) -> str:
    """List the differences between `mcd` and the others if harmless answers in another language count as errors."""
    strict = [
        one._replace(verdict=Verdict.BROKEN) if one.label == "harmless" and one.foreign else one for one in scored
    ]
    names = sorted({one.defence for one in strict} - {"none", "mcd"})
    metrics = compute_metrics(
        strict, **NAMES, model="", judge="", trained=TRAINED, pairs=[("mcd", name) for name in names]
    )
    return "".join(f"- {difference_text(found)}\n" for found in metrics.differences)


def main() -> None:
    args = arguments(__doc__, "results")
    recorded = record_path(LORA, args).exists()
    chosen = do_runs([*PLAN, LORA] if recorded else PLAN, args)
    if chosen is not None:
        labels = list(dict.fromkeys(planned.label for planned in chosen))
        pairs = [(a, b) for a, b in product(labels, ("written", "dro")) if a != b]
        pairs += [("mcd", other) for other in labels if other not in ("mcd", "written", "dro")]
        scored = all_replies(chosen, args)
        metrics = write_tables(scored, args.output, args.model, judge_of(chosen, args), TRAINED, pairs)
        rivals = [label for label in labels if label.startswith(PUBLISHED)] or PUBLISHED
        write_text(args.output / "aims.md", aims(metrics, read_heads(args.model), TRAINED, rivals))
        page = compact(metrics) + "\nAnswers in another language as errors:\n\n" + strict_differences(scored)
        write_text(args.output / "compact.md", page)


if __name__ == "__main__":
    run(main)
