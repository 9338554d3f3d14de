"""In which language harmless requests are answered: a table of the runs of demo_results.py, or of any other runs.

    python experiments/answer_language.py runs/results/written-seed0 runs/results/mcd-seed0

Needs the run folders, since it reads replies. For each defence and language: how many of the replies to harmless test
requests that count as answered are in the language of the request, by py3langid among the languages of the runs.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import py3langid

from babelguard.judges import RefusalJudge
from babelguard.languages import display_name


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers(run: Path) -> list[dict[str, Any]]:
    """The replies to harmless test requests that count as answered."""
    verdicts = {row["key"]: row["verdict"] for row in rows_of(run / f"verdicts.{RefusalJudge.name}.jsonl")}
    asked = [row for row in rows_of(run / "generations.jsonl") if (row["split"], row["label"]) == ("test", "harmless")]
    return [row for row in asked if verdicts.get(row["key"]) == "answered"]


def main() -> None:
    runs = [Path(name) for name in sys.argv[1:]]
    if not runs or not all((run / "generations.jsonl").is_file() for run in runs):
        raise SystemExit("Error: name run folders, each with its generations.jsonl.")
    found = {(row["defence"], row["seed"], row["key"]): row for run in runs for row in answers(run)}
    languages = list(dict.fromkeys(row["language"] for row in found.values()))
    py3langid.set_languages(languages)
    total: Counter[tuple[str, str]] = Counter()
    same: Counter[tuple[str, str]] = Counter()
    for (defence, seed, _), row in found.items():
        place = (defence if seed is None else f"{defence} {seed}", row["language"])
        total[place] += 1
        same[place] += py3langid.classify(row["reply"])[0] == row["language"]
    names = list(dict.fromkeys(name for name, _ in total))
    print("| | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for code in languages:
        cells = [f"{same[name, code]} of {total[name, code]}" for name in names]
        print(f"| {display_name(code)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
