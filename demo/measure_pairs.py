"""Measure the demo model without any prompt on English pairs held out from its training, a harmful and a harmless request each.

    python demo/measure_pairs.py

`dev.en.jsonl` is what the training was chosen with; the pairs of `close.en.jsonl`, by other writers, are worded as alike as
can be ("kill my stepfather", "kill a parent process"), idioms, films and the law among them; the shipped adapter was neither
trained on them nor chosen with them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from training_rows import HERE, read_jsonl

from babelguard.defences.base import Defence
from babelguard.evaluation.bench import Bench, Question
from babelguard.evaluation.statistics import wilson
from babelguard.models.load import load_chat_model

DATA = HERE / "data"
LABELS = ("harmful", "harmless")


def read_pairs(path: Path) -> list[Question]:
    return [
        Question("held-out", f"{path.stem}-{k}-{label}", label, "en", row[label])
        for k, row in enumerate(read_jsonl(path))
        for label in LABELS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", default=[DATA / "dev.en.jsonl", DATA / "close.en.jsonl"])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--tokens", type=int, default=24)
    args = parser.parse_args()

    table = Table("pairs", "harmful refused", "harmless refused")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(load_chat_model(args.model), Path(folder))
        for path in args.files:
            scored = bench.ask(Defence("none"), read_pairs(path), tokens=args.tokens)
            cells = []
            for label in LABELS:
                verdicts = [reply.verdict for reply in scored if reply.label == label]
                k, n = verdicts.count("refused"), len(verdicts)
                interval = wilson(k, n)
                assert interval is not None
                cells.append(f"{k}/{n}, {100 * k / n:.0f} % [{100 * interval.low:.0f}–{100 * interval.high:.0f}]")
            table.add_row(path.name, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
