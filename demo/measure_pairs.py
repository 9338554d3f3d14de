"""Measure the demo model without a safety prompt on held-out English pairs of a harmful and a harmless request.

    python demo/measure_pairs.py

The adapter was selected on `dev.en.jsonl`, but not trained on it. The pairs in `close.en.jsonl` have almost the same wording
("kill my stepfather", "kill a parent process") and include idioms, films and legal questions. They are by other writers, and the
adapter was neither trained nor selected on them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from training_rows import HERE, read_jsonl

from babelguard.corpus import Question
from babelguard.defences import NoDefence
from babelguard.evaluation.bench import Bench
from babelguard.evaluation.statistics import wilson
from babelguard.judges.patterns import PatternJudge
from babelguard.models.load import load_chat_model
from babelguard.targets import LocalModel

DATA = HERE / "data"
LABELS = ("harmful", "harmless")


def read_pairs(path: Path) -> list[Question]:
    """Read the requests of a file of pairs."""
    return [
        Question("held-out", f"{path.stem}-{k}-{label}", label, "en", row[label])
        for k, row in enumerate(read_jsonl(path))
        for label in LABELS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    files = [DATA / "dev.en.jsonl", DATA / "close.en.jsonl"]
    parser.add_argument("files", type=Path, nargs="*", default=files, help="files of pairs; default: dev and close")
    parser.add_argument("--model", default="demo", help="demo, smollm2, a local folder or a hub id")
    parser.add_argument("--tokens", type=int, default=24, help="length of a reply in tokens")
    args = parser.parse_args()

    table = Table("pairs", "harmful refused", "false refusal")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(LocalModel(load_chat_model(args.model)), PatternJudge(), Path(folder))
        for path in args.files:
            scored = bench.ask(NoDefence(), read_pairs(path), tokens=args.tokens)
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
