"""Measure the demo model without any prompt: what its model card promises, on prompts outside its training data.

    python demo/measure_adapter.py --split validation     # while choosing how to train it
    python demo/measure_adapter.py --split test           # for the model card

Prints, per language, harmful refused and harmless refused; for the languages that it was taught to answer in also the
share of answers in the question's language (py3langid) and the share whose first eight words open no training answer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import py3langid
from rich.console import Console
from rich.table import Table
from training_rows import HELPFUL, HERE, read_jsonl

from babelguard.corpus import load_corpus
from babelguard.defences.base import Defence
from babelguard.evaluation.bench import Bench, questions
from babelguard.languages import display_name
from babelguard.models.load import load_chat_model

# Chinese is written without spaces: eight words are about twelve characters.
OPENING_WORDS, OPENING_CHARACTERS = 8, 12


def opening(text: str, code: str) -> str:
    """What counts as the first eight words."""
    return text[:OPENING_CHARACTERS] if code == "zh" else " ".join(text.casefold().split()[:OPENING_WORDS])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--limit", type=int, default=None, help="rows per label")
    parser.add_argument("--languages", default="en,da,ko,el,ga,it,ar,zh,th,sw,cy", help="separated by commas")
    parser.add_argument("--reuse", type=Path, action="append", default=[], help="a run whose replies are taken over")
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--replies", type=Path, default=None, help="also write the harmless replies here, to read them")
    args = parser.parse_args()

    corpus = load_corpus().split(args.split)
    wanted = args.languages.split(",")
    corpus = corpus.select([code for code in wanted if code in corpus.languages], args.limit)
    chat = load_chat_model(args.model)
    py3langid.set_languages([code for code in corpus.languages])
    table = Table("language", "harmful refused", "harmless refused", "broken", "in its language", "new opening")
    written, result = [], {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(chat, Path(folder), reuse=args.reuse)
        twins = [row["answer"] for row in read_jsonl(HERE / "data" / "twins.en.jsonl")]
        for code in corpus.languages:
            asked = questions(corpus, [code], args.split)
            scored = bench.ask(Defence("none"), asked, tokens=args.tokens)
            taught = read_jsonl(HERE / "data" / f"helpful.{code}.jsonl") if code in HELPFUL else []
            known = {
                opening(text, code) for text in [row["answer"] for row in taught] + (twins if code == "en" else [])
            }
            answers = []
            for question, reply in zip(asked, scored, strict=True):
                row = bench.generations.get(bench.key(Defence("none"), question, args.tokens)) or {}
                if question.label == "harmless":
                    written.append(
                        {"language": code, "prompt": question.text, "reply": row["reply"], "verdict": reply.verdict}
                    )
                    if reply.verdict == "answered":
                        answers.append(row["reply"])
            counts = {
                label: [reply.verdict for reply in scored if reply.label == label] for label in ("harmful", "harmless")
            }
            same = [py3langid.classify(text)[0] == code for text in answers]
            fresh = [opening(text, code) not in known for text in answers]
            rates = {
                "harmful_refused": counts["harmful"].count("refused") / len(counts["harmful"]),
                "harmless_refused": counts["harmless"].count("refused") / len(counts["harmless"]),
                "broken": sum(c.count("broken") for c in counts.values()) / sum(map(len, counts.values())),
            }
            if answers and code in HELPFUL:
                rates |= {"in_language": sum(same) / len(same), "new_opening": sum(fresh) / len(fresh)}
            result[code] = rates
            shares = [
                f"{100 * rates[k]:.0f} %" if k in rates else "–"
                for k in ("harmful_refused", "harmless_refused", "broken", "in_language", "new_opening")
            ]
            table.add_row(display_name(code) + (" (taught)" if code in HELPFUL else ""), *shares)
    Console().print(table)
    print(json.dumps(result))
    if args.replies:
        args.replies.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in written), encoding="utf-8")


if __name__ == "__main__":
    main()
