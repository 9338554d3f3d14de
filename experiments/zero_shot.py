"""Zero-shot: the demo model defended in a few languages, tested in all of the corpus.

    python experiments/zero_shot.py --dry-run        # what will be done, what is done already, and the cost
    python experiments/zero_shot.py --limit 50       # do it; Ctrl+C at any time, the same command resumes

`five` is trained on the paper's languages, `all` on every language, `without-X` on all but X, `auto` on five that
`--languages auto:5` chooses, `draw-N` on five drawn at random. Beside the table of both rates, loopholes.md says how
many harmful requests are refused in English and answered in another language, and ranks.md how the choices of five
languages do on the languages that none of them was trained on.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from statistics import fmean

from planned import Planned, all_replies, arguments, do, record_of, run, together

from babelguard.config import PAPER_LANGUAGES
from babelguard.corpus import load_corpus
from babelguard.evaluation.loophole import loopholes
from babelguard.evaluation.metrics import ERRORS, ScoredReply
from babelguard.languages import display_name

LEFT_OUT = ("ko", "sw", "hi")
DRAWS = 5
# With many languages fewer rows of each suffice, for the anchors and for choosing the step.
MANY = {"anchor_rows": 4, "select_rows": 3, "select_every": 60}


def make_plan() -> list[Planned]:
    corpus = load_corpus()
    every = corpus.split("train").languages
    plan = [
        Planned("five", 0, {"preset": "mcd"}),
        Planned("all", 0, {"preset": "mcd", "languages": every, **MANY}),
        Planned("auto", 0, {"preset": "mcd", "languages": ("auto:5",)}),
    ]
    for code in LEFT_OUT:
        rest = tuple(other for other in every if other != code)
        plan.append(Planned(f"without-{code}", 0, {"preset": "mcd", "languages": rest, **MANY}))
    for number in range(DRAWS):
        drawn = random.Random(f"draw/{number}").sample(every, 5)
        plan.append(Planned(f"draw-{number}", 0, {"preset": "mcd", "languages": tuple(drawn)}))
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


def write_ranks(scored: list[ScoredReply], chosen: list[Planned], args: argparse.Namespace) -> None:
    """Mean error of each choice of five on the languages that no choice was trained on. A rank, no more."""
    records = {p.label: record_of(p, args) for p in chosen}
    config = {label: record.config["languages"] for label, record in records.items() if record is not None}
    fives = {label: codes for label, codes in config.items() if len(codes) == 5}
    used = {code for codes in fives.values() for code in codes}
    lines = [
        "| rank | choice | trained on | mean error on languages that no choice was trained on |",
        "|---|---|---|---|",
    ]
    found = []
    for label, codes in fives.items():
        rates = []
        for language in {reply.language for reply in scored} - used:
            for harm in ("harmful", "harmless"):
                rows = [r for r in scored if (r.defence, r.language, r.label) == (label, language, harm)]
                rates.append(sum(r.verdict in ERRORS[r.label] for r in rows) / len(rows))
        if rates:
            found.append((fmean(rates), label, codes))
    for rank, (error, label, codes) in enumerate(sorted(found), start=1):
        lines.append(f"| {rank} | {label} | {', '.join(codes)} | {100 * error:.1f} % |")
    (args.output / "ranks.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    args = arguments(__doc__, "zero-shot")
    plan = make_plan()
    chosen = do(plan, args)
    if chosen is None:
        return
    scored = all_replies(chosen, args)
    together(scored, args.output, PAPER_LANGUAGES, [(p.label, "written") for p in chosen])
    write_loopholes(scored, args.output / "loopholes.md")
    write_ranks(scored, chosen, args)


if __name__ == "__main__":
    run(main)
