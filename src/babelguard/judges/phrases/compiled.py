"""Read and compile the phrases of every language."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from babelguard.judges.folding import Fold, KeepSyntax, fold_marks

_EDGES = {"word": (r"(?<!\S)", r"(?!\S)"), "start": (r"(?<!\S)", ""), "none": ("", "")}
_LETTERS = "letters.json"


class Phrases(NamedTuple):
    """The compiled phrases of one language. A field is None if the language has no such phrases."""

    script: str
    spaced: bool
    refusal: re.Pattern[str] | None
    condemn: re.Pattern[str] | None
    support: re.Pattern[str] | None
    hedge: re.Pattern[str] | None
    turn: re.Pattern[str] | None
    cut: re.Pattern[str] | None


@cache
def load_phrases() -> tuple[Fold, dict[str, Phrases]]:
    """Return the table that folds letters, and the phrases by language code."""
    texts = _texts()
    letters: dict[str, str] = json.loads(texts.pop(_LETTERS))
    return Fold(letters), {
        name.removesuffix(".json"): _compile(json.loads(text), letters) for name, text in texts.items()
    }


@cache
def digest() -> str:
    """Return a hash of all phrases."""
    content = {name: json.loads(text) for name, text in _texts().items()}
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:8]


def _texts() -> dict[str, str]:
    folder = files(__package__)
    return {
        file.name: file.read_text("utf-8")
        for file in sorted(folder.iterdir(), key=lambda one: one.name)
        if file.name.endswith(".json")
    }


def _compile(entry: dict[str, Any], letters: dict[str, str]) -> Phrases:
    macros: dict[str, str] = entry.get("macros", {})
    table = KeepSyntax(letters)

    def expand(pattern: str) -> str:
        while (named := re.sub(r"<([a-z]+)>", lambda found: macros[found[1]], pattern)) != pattern:
            pattern = named
        pattern = re.sub(r"<w(\d+)>", r"(?: [^\\s.]+){0,\1}?", pattern)
        pattern = re.sub(r"<c(\d+)>", r"[^.]{0,\1}?", pattern)
        return fold_marks(unicodedata.normalize("NFKC", pattern.replace("~", r"[^\s.]*")), table)

    start, end = _EDGES[entry["boundary"]]

    def part(name: str, frame: str = "{start}(?:{phrases}){end}") -> re.Pattern[str] | None:
        phrases = "|".join(map(expand, entry.get(name, ())))
        return re.compile(frame.format(start=start, phrases=phrases, end=end)) if phrases else None

    return Phrases(
        script=entry["script"],
        spaced=entry["boundary"] != "none",
        refusal=part("refusal"),
        condemn=part("condemn"),
        support=part("support"),
        hedge=part("hedge"),
        turn=part("turn"),
        cut=part("cut", r"{start}(?:{phrases})[ .]*\Z"),
    )
