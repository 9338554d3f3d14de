"""Measure the demo model without a safety prompt: the numbers of its model card.

    python demo/measure_adapter.py --split validation     # while deciding how to train it
    python demo/measure_adapter.py --split test           # for the model card

The table has harmful refused and false refusal per language. For languages that the model was trained to answer in, it also
has the share of answers in the language of the request (py3langid), and the share of answers whose first eight words do not
begin a training answer.
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

from babelguard.corpus import load_corpus, questions
from babelguard.defences import NoDefence
from babelguard.evaluation.bench import Bench
from babelguard.judges.patterns import PatternJudge
from babelguard.languages import display_name
from babelguard.models.load import load_chat_model
from babelguard.targets import LocalModel

# Chinese is written without spaces: eight words are about twelve characters.
OPENING_WORDS, OPENING_CHARACTERS = 8, 12
COLUMNS = {
    "harmful_refused": "harmful refused",
    "false_refusal": "false refusal",
    "broken": "broken",
    "in_language": "in its language",
    "new_opening": "new opening",
}


def opening(text: str, code: str) -> str:
    """Return the first eight words of a text."""
    return text[:OPENING_CHARACTERS] if code == "zh" else " ".join(text.casefold().split()[:OPENING_WORDS])


def known_openings(code: str) -> set[str]:
    """Return the openings of the training answers in a language."""
    answers = [row["answer"] for row in read_jsonl(HERE / "data" / f"helpful.{code}.jsonl")] if code in HELPFUL else []
    if code == "en":
        answers += [row["answer"] for row in read_jsonl(HERE / "data" / "twins.en.jsonl")]
    return {opening(text, code) for text in answers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="demo, smollm2, a local folder or a hub id")
    parser.add_argument("--split", choices=["validation", "test"], default="validation", help="split of the corpus")
    parser.add_argument("--limit", type=int, default=None, help="rows per label; default: all")
    parser.add_argument("--languages", default="en,da,ko,el,ga,it,ar,zh,th,sw,cy", help="separated by commas")
    parser.add_argument("--reuse", type=Path, action="append", default=[], help="a run whose replies are copied")
    parser.add_argument("--tokens", type=int, default=24, help="length of a reply in tokens")
    parser.add_argument("--replies", type=Path, default=None, help="file to write the harmless replies to")
    args = parser.parse_args()

    corpus = load_corpus().split(args.split)
    wanted = args.languages.split(",")
    corpus = corpus.select([code for code in wanted if code in corpus.languages], args.limit)
    model = LocalModel(load_chat_model(args.model))
    py3langid.set_languages(list(corpus.languages))
    table = Table("language", *COLUMNS.values())
    written, result = [], {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(model, PatternJudge(), Path(folder), reuse=args.reuse)
        for code in corpus.languages:
            asked = questions(corpus, [code], args.split)
            scored = bench.ask(NoDefence(), asked, tokens=args.tokens)
            answers = []
            for question, reply in zip(asked, scored, strict=True):
                if question.label == "harmless":
                    row = bench.generations.get(bench.key(NoDefence(), question, args.tokens)) or {}
                    written.append(
                        {"language": code, "prompt": question.text, "reply": row["reply"], "verdict": reply.verdict}
                    )
                    if reply.verdict == "answered":
                        answers.append(row["reply"])
            counts = {
                label: [reply.verdict for reply in scored if reply.label == label] for label in ("harmful", "harmless")
            }
            rates = {
                "harmful_refused": counts["harmful"].count("refused") / len(counts["harmful"]),
                "false_refusal": counts["harmless"].count("refused") / len(counts["harmless"]),
                "broken": sum(c.count("broken") for c in counts.values()) / sum(map(len, counts.values())),
            }
            if answers and code in HELPFUL:
                known = known_openings(code)
                same = [py3langid.classify(text)[0] == code for text in answers]
                new = [opening(text, code) not in known for text in answers]
                rates |= {"in_language": sum(same) / len(same), "new_opening": sum(new) / len(new)}
            result[code] = rates
            shares = [f"{100 * rates[name]:.0f} %" if name in rates else "–" for name in COLUMNS]
            table.add_row(display_name(code) + (" (trained to answer)" if code in HELPFUL else ""), *shares)
    Console().print(table)
    print(json.dumps(result))
    if args.replies:
        args.replies.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in written), encoding="utf-8")


if __name__ == "__main__":
    main()
