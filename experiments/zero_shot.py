"""Zero-shot transfer: train on a few languages, and test on all languages of the corpus.

    python experiments/zero_shot.py --dry-run        # list the runs, which of them are done, and the cost
    python experiments/zero_shot.py --limit 50       # do the runs; after Ctrl+C, the same command resumes

`five` is trained on English, Chinese, Arabic, Korean and Thai, `all` on all languages, `without-X` on all languages except X,
`auto` on the five languages chosen by `auto:5`, and `draw-N` on five random languages.

The tables are written to --output. table.md has both error rates per language. summary.md has one row per run. loopholes.md
has the harmful requests that are refused in English and answered in another language. ranks.md ranks the choices of five
training languages by their error on the languages that are in none of these choices.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from planned import NAMES, Planned, all_replies, arguments, do_runs, judge_of, record_of, run, write_tables
from results import TRAINED

from babelguard.corpus import load_corpus
from babelguard.evaluation.loophole import Loophole, loopholes
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Metrics, OtherLanguage, ScoredReply, Spread
from babelguard.files import write_text
from babelguard.languages import display_name
from babelguard.markdown import table
from babelguard.report.cells import EMPTY, percent
from babelguard.report.short_table import difference_text

LEFT_OUT = ("ko", "sw", "hi")
DRAWS = 5
# With many languages, fewer rows per language are enough for the anchors and for selecting the step.
MANY = {"objective.anchor_rows": 4, "selection.rows": 6}
# The written prompt is fixed, so that all runs share the replies of the baselines.
SAME: dict[str, Any] = {"preset": "mcd", "prompt": "long", "start": "long"}


def make_plan() -> list[Planned]:
    corpus = load_corpus()
    every = corpus.split("train").languages
    plan = [
        Planned("five", 0, {"preset": "mcd", "languages": TRAINED}),
        Planned("all", 0, {**SAME, "languages": every, **MANY}),
        Planned("auto", 0, {**SAME, "languages": ("auto:5",)}),
    ]
    for code in LEFT_OUT:
        rest = tuple(other for other in every if other != code)
        plan.append(Planned(f"without-{code}", 0, {**SAME, "languages": rest, **MANY}))
    for number in range(DRAWS):
        drawn = random.Random(f"draw/{number}").sample(every, 5)
        plan.append(Planned(f"draw-{number}", 0, {**SAME, "languages": tuple(drawn)}))
    return plan


def write_loopholes(scored: list[ScoredReply], path: Path) -> None:
    """Write the loophole rate of each language and defence."""
    found = loopholes(scored)
    names = list(dict.fromkeys(one.defence for one in found))
    cells = {(one.defence, one.language): one for one in found}
    rows = [
        [display_name(code), *(_loophole(cells[name, code]) for name in names)]
        for code in dict.fromkeys(one.language for one in found)
    ]
    write_text(path, table(["language", *names], rows) + "\n")


def _loophole(one: Loophole) -> str:
    if one.low is None or one.high is None:
        return EMPTY
    return f"{one.k}/{one.n} [{100 * one.low:.0f}–{100 * one.high:.0f}]"


def write_summary(
    metrics: Metrics, scored: list[ScoredReply], learned: Mapping[str, Sequence[str]], path: Path
) -> None:
    """Write one row per run.

    The row has the mean error over the run's training languages, the other languages and all languages, and for each error
    rate the mean, the worst language and the variance over languages.
    """
    errors: dict[tuple[str, bool], list[float]] = {}
    for row in metrics.rows:
        harmful, harmless = row.attack_success.error(), row.false_refusal.error()
        if harmful is not None and harmless is not None:
            errors.setdefault((row.defence, row.trained), []).append((harmful + harmless) / 2)
    holes: dict[str, list[Loophole]] = {}
    for one in loopholes(scored):
        holes.setdefault(one.defence, []).append(one)
    header = [
        "run",
        "training languages",
        "error, trained",
        "error, unseen",
        "error, all",
        "attack success: mean, worst, variance",
        "false refusal: mean, worst, variance",
        "loopholes",
        "answers in another language",
    ]
    rows = []
    for one in metrics.summary:
        name = one.defence
        found = [errors.get((name, trained), []) for trained in (True, False)]
        other = OtherLanguage.of(row for row in metrics.rows if row.defence == name)
        answered = sum(hole.k for hole in holes.get(name, ()))
        refused = sum(hole.n for hole in holes.get(name, ()))
        cells = [
            name,
            str(len(learned.get(name, ()))),
            *(percent(fmean(part) if part else None) for part in found),
            percent(one.error),
            *(_spread(rate) for rate in (one.attack_success, one.false_refusal)),
            f"{percent(answered / refused if refused else None)} of {refused}",
            f"{percent(other.k / other.n if other.n else None)} of {other.n}",
        ]
        rows.append(cells)
    write_text(path, table(header, rows) + "\n")


def _spread(rate: Spread) -> str:
    if rate.variance is None:
        return EMPTY
    return f"{percent(rate.mean)}, {percent(rate.worst)} ({rate.worst_language}), {rate.variance:.0f}"


def write_ranks(scored: list[ScoredReply], learned: Mapping[str, Sequence[str]], path: Path) -> None:
    """Rank the choices of five training languages by their error on the languages that are in none of them."""
    fives = {label: codes for label, codes in learned.items() if len(codes) == 5}
    used = {code for codes in fives.values() for code in codes}
    header = ["rank", "choice", "training languages", "error on held-out languages", "difference to five, paired"]
    rows = []
    rest = [reply for reply in scored if reply.language not in used and reply.defence in fives]
    if rest:
        # The means are comparable only over the same languages. A language without a rate for one choice is left out for all.
        unjudged = {
            code
            for one in compute_metrics(rest, **NAMES, model="", judge="", pairs=()).summary
            for code in one.left_out
        }
        rest = [reply for reply in rest if reply.language not in unjudged]
        pairs = [(label, "five") for label in fives if label != "five" and "five" in fives]
        metrics = compute_metrics(rest, **NAMES, model="", judge="", pairs=pairs)
        change = {
            found.a: difference_text(found).partition(": ")[2] for found in metrics.differences if found.group == "all"
        }
        means = [(one.error, one.defence) for one in metrics.summary if one.group == "all"]
        ranked = sorted((error, label) for error, label in means if error is not None)
        rows = [
            [str(rank), label, ", ".join(fives[label]), percent(error), change.get(label, "")]
            for rank, (error, label) in enumerate(ranked, start=1)
        ]
    write_text(path, table(header, rows) + "\n")


def main() -> None:
    args = arguments(__doc__, "zero-shot")
    plan = make_plan()
    chosen = do_runs(plan, args)
    if chosen is None:
        return
    scored = all_replies(chosen, args)
    learned = {p.label: record.languages for p in chosen if (record := record_of(p, args)) is not None}
    # The training languages differ between runs, so the table marks none of them. See summary.md.
    pairs = [(planned.label, "written") for planned in chosen]
    metrics = write_tables(scored, args.output, args.model, judge_of(chosen, args), (), pairs, learned)
    write_summary(metrics, scored, learned, args.output / "summary.md")
    write_loopholes(scored, args.output / "loopholes.md")
    write_ranks(scored, learned, args.output / "ranks.md")


if __name__ == "__main__":
    run(main)
