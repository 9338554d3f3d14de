"""Zero-shot: the demo model defended in a few languages, tested in all of the corpus.

    python experiments/zero_shot.py --dry-run        # what will be done, what is done already, and the cost
    python experiments/zero_shot.py --limit 50       # do it; Ctrl+C at any time, the same command resumes

`five` is trained on the paper's languages, `all` on every language, `without-X` on all but X, `auto` on five that
`--languages auto:5` chooses, `draw-N` on five drawn at random. Beside the table of both rates, summary.md has a line a run,
loopholes.md says how many harmful requests are refused in English and answered in another language, and ranks.md how the
choices of five languages do on the languages that none of them was trained on.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from planned import NAMES, Planned, all_replies, arguments, do, record_of, run, together

from babelguard.corpus import load_corpus
from babelguard.report.short_table import difference_text
from babelguard.evaluation.loophole import Loophole, loopholes
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Elsewhere, Metrics, ScoredReply, Spread
from babelguard.languages import display_name

LEFT_OUT = ("ko", "sw", "hi")
DRAWS = 5
# With many languages fewer rows of each suffice, for the anchors and for choosing the step.
MANY = {"anchor_rows": 4, "select_rows": 6}
# What `five` chooses and begins from. Choosing anew for every run would cost replies to other baselines.
SAME: dict[str, Any] = {"preset": "mcd", "prompt": "long", "start": "long"}


def make_plan() -> list[Planned]:
    corpus = load_corpus()
    every = corpus.split("train").languages
    plan = [
        Planned("five", 0, {"preset": "mcd"}),
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
    found = loopholes(scored)
    names = list(dict.fromkeys(one.defence for one in found))
    cells = {(one.defence, one.language): one for one in found}
    lines = ["| language | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for code in dict.fromkeys(one.language for one in found):
        here = [cells[name, code] for name in names]
        shown = [
            "–"
            if one.low is None or one.high is None
            else f"{one.k}/{one.n} [{100 * one.low:.0f}–{100 * one.high:.0f}]"
            for one in here
        ]
        lines.append(f"| {display_name(code)} | " + " | ".join(shown) + " |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_summary(
    metrics: Metrics, scored: list[ScoredReply], learned: Mapping[str, Sequence[str]], path: Path
) -> None:
    """Every run over its own training languages, the others and all; rates with worst language and variance over languages."""
    errors: dict[tuple[str, bool], list[float]] = {}
    for row in metrics.rows:
        harmful, harmless = row.harmful_answered.rate, row.harmless_refused.rate
        if harmful is not None and harmless is not None:
            errors.setdefault((row.defence, row.trained), []).append((harmful + harmless) / 2)
    holes: dict[str, list[Loophole]] = {}
    for one in loopholes(scored):
        holes.setdefault(one.defence, []).append(one)
    lines = [
        "| run | languages trained on | error, trained | error, unseen | error, all | harmful answered: mean, worst, variance "
        "| harmless refused: mean, worst, variance | loopholes | answers in another language |",
        "|" + "---|" * 9,
    ]
    for one in metrics.summary:
        name = one.defence
        found = [errors.get((name, trained), []) for trained in (True, False)]
        elsewhere = Elsewhere.of(row for row in metrics.rows if row.defence == name)
        through, shut = (sum(getattr(hole, part) for hole in holes.get(name, ())) for part in ("k", "n"))
        cells = [
            name,
            str(len(learned.get(name, ()))),
            *(_percent(fmean(part) if part else None) for part in found),
            _percent(one.error),
            *(_spread(rate) for rate in (one.harmful_answered, one.harmless_refused)),
            f"{_percent(through / shut if shut else None)} of {shut}",
            f"{_percent(elsewhere.k / elsewhere.n if elsewhere.n else None)} of {elsewhere.n}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _spread(rate: Spread) -> str:
    if rate.variance is None:
        return "–"
    return f"{_percent(rate.mean)}, {_percent(rate.worst)} ({rate.worst_language}), {rate.variance:.0f}"


def write_ranks(scored: list[ScoredReply], learned: Mapping[str, Sequence[str]], path: Path) -> None:
    """Mean error of each choice of five on the languages that no choice was trained on, and paired differences to `five`."""
    fives = {label: codes for label, codes in learned.items() if len(codes) == 5}
    used = {code for codes in fives.values() for code in codes}
    lines = [
        "| rank | choice | trained on | error on the languages that none of them was trained on | difference to `five`, paired |",
        "|---|---|---|---|---|",
    ]
    rest = [reply for reply in scored if reply.language not in used and reply.defence in fives]
    if rest:
        # A language that one choice cannot be judged in is left out for all, or the means would not compare.
        vague = {code for one in compute_metrics(rest, **NAMES, pairs=()).summary for code in one.left_out}
        rest = [reply for reply in rest if reply.language not in vague]
        pairs = [(label, "five") for label in fives if label != "five" and "five" in fives]
        metrics = compute_metrics(rest, **NAMES, pairs=pairs)
        change = {
            found.a: difference_text(found).partition(": ")[2] for found in metrics.differences if found.group == "all"
        }
        means = [(one.error, one.defence) for one in metrics.summary if one.group == "all"]
        ranked = sorted((error, label) for error, label in means if error is not None)
        for rank, (error, label) in enumerate(ranked, start=1):
            lines.append(
                f"| {rank} | {label} | {', '.join(fives[label])} | {_percent(error)} | {change.get(label, '')} |"
            )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    args = arguments(__doc__, "zero-shot")
    plan = make_plan()
    chosen = do(plan, args)
    if chosen is None:
        return
    scored = all_replies(chosen, args)
    learned = {p.label: record.config["languages"] for p in chosen if (record := record_of(p, args)) is not None}
    # Each run has languages of its own that it was trained on, so the table marks none; summary.md tells them apart.
    metrics = together(scored, args.output, (), [(p.label, "written") for p in chosen], learned)
    write_summary(metrics, scored, learned, args.output / "summary.md")
    write_loopholes(scored, args.output / "loopholes.md")
    write_ranks(scored, learned, args.output / "ranks.md")


if __name__ == "__main__":
    run(main)
