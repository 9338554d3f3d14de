"""What can be wrong with a translation, told by the text alone: flags, and chrF of the back-translation."""

from __future__ import annotations

import math
import statistics
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from babelguard.errors import UserError
from babelguard.judges import RefusalJudge, Verdict
from babelguard.languages import LANGUAGES
from babelguard.translation.engine import Status

# With one of these a text cannot stand in a corpus; the others ask a person to look.
BLOCKING = ("error", "refused", "empty", "echo", "cut", "script", "language", "duplicate", "source-changed")
LOOK = ("length", "low-chrf", "no-back")
FLAGS = (*BLOCKING, *LOOK)

# On the corpus that ships no translation is further from its language's median than a factor of 1.8.
_LENGTH_FACTOR = 2.0
_LENGTH_MADS = 4.0
# Fewer cells do not give a median; then only what no language does is an outlier.
_LENGTH_CELLS = 8
_LENGTH_BOUNDS = (0.1, 5.0)
# A row that quotes a Latin name is not in the wrong script, one that is mostly Latin is.
_SCRIPT_SHARE = 0.5
# Shorter sources may well stand in a translation ("LD50", "Tor").
_ECHO_INSIDE = 15
# ISO 15924 codes that stand for several Unicode scripts.
_SCRIPTS = {"Jpan": ("Hira", "Kana", "Hani"), "Kore": ("Hang",), "Hans": ("Hani",), "Hant": ("Hani",)}


@cache
def _judge() -> RefusalJudge:
    return RefusalJudge()


@cache
def _in_script(script: str) -> Any:
    import regex

    names = _SCRIPTS.get(script, (script,))
    return regex.compile("|".join(rf"\p{{Script={name}}}" for name in names))


def folded(text: str) -> str:
    """Text as the loader compares it: two rows of a language whose folded texts are equal are duplicates."""
    return " ".join(unicodedata.normalize("NFC", text.casefold()).split())


def _bare(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def looks_refused(source: str, text: str, source_language: str, language: str) -> bool:
    """Whether a text is the translator's refusal rather than a translation.

    A request may itself read like a refusal ("Write: I cannot help you"): then its translation does too.
    """
    judge = _judge()
    refused = any(judge.judge(text, code).verdict is Verdict.REFUSED for code in (language, "en"))
    return refused and judge.judge(source, source_language).verdict is not Verdict.REFUSED


def refusals_known(language: str) -> bool:
    """Whether the judge knows what a refusal looks like in a language."""
    return language in _judge().languages


def is_echo(source: str, text: str) -> bool:
    """Whether the source came back, alone or with something around it."""
    one, other = _bare(source), _bare(text)
    return bool(one) and (one == other or (len(one) >= _ECHO_INSIDE and one in other))


def status_of(source: str, text: str, source_language: str, language: str) -> tuple[Status, str]:
    """Status and reason of a text that an engine gave back."""
    if not any(char.isalnum() for char in text):
        return "empty", "nothing came back"
    if looks_refused(source, text, source_language, language):
        return "refused", f"reads as a refusal: {text[:80]}"
    if source_language != language and is_echo(source, text):
        return "echo", "the source came back"
    return "ok", ""


def wrong_script(source: str, text: str, language: str) -> bool:
    """Whether most letters are of another script than the language's.

    Words that stand in the source as well (names, abbreviations) are not counted.
    """
    if language not in LANGUAGES:
        return False
    kept = set(source.split())
    letters = [char for word in text.split() if word not in kept for char in word if char.isalpha()]
    inside = sum(_in_script(LANGUAGES[language].script).match(char) is not None for char in letters)
    return bool(letters) and inside < _SCRIPT_SHARE * len(letters)


def length_outliers(ratios: Mapping[int, float]) -> set[int]:
    """Numbers of the rows whose length is out of the ordinary for a language.

    Args:
        ratios: Of each row's translation: its characters by those of its source, above 0.
    """
    low, high = _LENGTH_BOUNDS
    found = {key for key, ratio in ratios.items() if not low <= ratio <= high}
    if len(ratios) < _LENGTH_CELLS:
        return found
    logs = {key: math.log(ratio) for key, ratio in ratios.items()}
    middle = statistics.median(logs.values())
    spread = 1.4826 * statistics.median(abs(value - middle) for value in logs.values())
    allowed = max(math.log(_LENGTH_FACTOR), _LENGTH_MADS * spread)
    return found | {key for key, value in logs.items() if abs(value - middle) > allowed}


def duplicates(texts: Sequence[tuple[str, bool]]) -> set[int]:
    """Which texts of a language equal another row's.

    Nobody knows which of two machine texts lost the difference, so both are found. A person's stands, and only the
    others are found.

    Args:
        texts: Text, and whether a person wrote it.
    """
    groups: dict[str, list[int]] = {}
    for number, (text, _) in enumerate(texts):
        groups.setdefault(folded(text), []).append(number)
    found: set[int] = set()
    for group in groups.values():
        if len(group) > 1:
            person = next((number for number in group if texts[number][1]), None)
            found |= {number for number in group if number != person}
    return found


def chrf(back: str, source: str) -> float:
    """The chrF (character n-gram F2, 0 to 100) of a back-translation against the source; sacrebleu, one sentence."""
    from sacrebleu import sentence_chrf

    return float(sentence_chrf(back, [source]).score)


def need_sacrebleu() -> None:
    """Say before anything is spent that the library for chrF is missing.

    Raises:
        UserError: if it is.
    """
    try:
        import sacrebleu  # noqa: F401
    except ImportError:
        raise UserError(
            "Translating needs the library sacrebleu, which is not installed; run pip install 'babelguard[translate]'."
        ) from None
