"""Checks of translations: flags, and chrF of the back-translation."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from babelguard.corpus.text import casefolded
from babelguard.corpus.translation.base import Status
from babelguard.errors import UserError
from babelguard.judges.patterns import PatternJudge
from babelguard.languages import LANGUAGES

# Texts with a flag of the first group are not written to the corpus. Flags of the second group only ask for a review.
BLOCKING = ("error", "refused", "empty", "echo", "cut", "script", "language", "duplicate", "source-changed")
REVIEW_ONLY = ("length", "low-chrf", "no-back")
FLAGS = (*BLOCKING, *REVIEW_ONLY)

# In the built-in corpus, all translations are within a factor of 1.8 of the median of their language.
_LENGTH_FACTOR = 2.0
_LENGTH_MADS = 4.0
# With fewer cells there is no reliable median, and only the absolute bounds apply.
_LENGTH_CELLS = 8
_LENGTH_BOUNDS = (0.1, 5.0)
# Minimum share of letters in the right script. A text may contain a few Latin names.
_SCRIPT_SHARE = 0.5
# Shorter sources ("LD50", "Tor") may be part of a correct translation.
_ECHO_INSIDE = 15
# ISO 15924 codes whose Unicode scripts have other names.
_SCRIPTS = {"Jpan": ("Hira", "Kana", "Hani"), "Kore": ("Hang",), "Hans": ("Hani",), "Hant": ("Hani",)}


@cache
def _judge() -> PatternJudge:
    return PatternJudge()


def _is_refusal(text: str, languages: Sequence[str]) -> bool:
    """Whether a text is a refusal, judged as a reply in any of these languages."""
    return any(_judge().declines(text, code) for code in languages)


@cache
def _in_script(script: str) -> Any:
    import regex

    names = _SCRIPTS.get(script, (script,))
    return regex.compile("|".join(rf"\p{{Script={name}}}" for name in names))


def _letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def looks_refused(source: str, text: str, source_language: str, language: str) -> bool:
    """Whether a text is a refusal of the engine instead of a translation.

    If the source itself reads like a refusal ("Write: I cannot help you"), its translation does too.
    """
    return _is_refusal(text, (language, "en")) and not _is_refusal(source, (source_language,))


def refusals_known(language: str) -> bool:
    """Whether the judge can detect refusals in a language."""
    return not _judge().unsupported([language])


def is_echo(source: str, text: str) -> bool:
    """Whether a text is the source, or contains it."""
    one, other = _letters(source), _letters(text)
    return bool(one) and (one == other or (len(one) >= _ECHO_INSIDE and one in other))


def status_of(source: str, text: str, source_language: str, language: str) -> tuple[Status, str]:
    """Return the status of a text returned by an engine, and the reason."""
    if not any(char.isalnum() for char in text):
        return "empty", "no text was returned"
    if looks_refused(source, text, source_language, language):
        return "refused", f"the text is a refusal: {text[:80]}"
    if source_language != language and is_echo(source, text):
        return "echo", "the English text was returned"
    return "ok", ""


def wrong_script(source: str, text: str, language: str) -> bool:
    """Whether most letters are in the wrong script.

    Words that also occur in the source (names, abbreviations) are ignored.
    """
    if language not in LANGUAGES:
        return False
    kept = set(source.split())
    letters = [char for word in text.split() if word not in kept for char in word if char.isalpha()]
    inside = sum(_in_script(LANGUAGES[language].script).match(char) is not None for char in letters)
    return bool(letters) and inside < _SCRIPT_SHARE * len(letters)


def length_outliers(ratios: Mapping[int, float]) -> set[int]:
    """Return the rows whose translation has an unusual length for the language.

    Args:
        ratios: Length of the translation divided by the length of the source, above 0, by row number.
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
    """Return the numbers of duplicate texts in a language.

    All machine translations of a group of equal texts are returned, because any of them may be wrong. If a person wrote
    one of them, that one is not returned.

    Args:
        texts: Each text, and whether a person wrote it.
    """
    groups: dict[str, list[int]] = {}
    for number, (text, _) in enumerate(texts):
        groups.setdefault(casefolded(text), []).append(number)
    found: set[int] = set()
    for group in groups.values():
        if len(group) > 1:
            person = next((number for number in group if texts[number][1]), None)
            found |= {number for number in group if number != person}
    return found


def chrf(back: str, source: str) -> float:
    """Return the sentence-level chrF (0 to 100, sacrebleu) of a back-translation against the source."""
    from sacrebleu import sentence_chrf

    return float(sentence_chrf(back, [source]).score)


def require_sacrebleu() -> None:
    """Check before the first request that sacrebleu is installed.

    Raises:
        UserError: If it is not.
    """
    try:
        import sacrebleu  # noqa: F401
    except ImportError:
        raise UserError(
            "Translating needs the library sacrebleu, which is not installed; run pip install 'babelguard[translate]'."
        ) from None
