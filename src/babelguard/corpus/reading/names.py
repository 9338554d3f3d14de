"""Names that columns of published files usually have, and the languages that they name."""

from __future__ import annotations

import re
from functools import cache

from babelguard.corpus.header import INDONESIAN, METADATA, REQUIRED
from babelguard.languages import LANGUAGES, OLD_CODES

# Columns that hold the prompts if no language columns exist.
TEXT_NAMES = (
    "prompt",
    "prompts",
    "prompt_text",
    "user_prompt",
    "text",
    "question",
    "questions",
    "query",
    "instruction",
    "goal",
    "behavior",
    "behaviour",
    "request",
    "forbidden_prompt",
    "prompts_final",
)
LABEL_NAMES = ("label", "labels", "prompt_harm_label", "prompt_label", "harm_label", "safety_label", "safety")
# Labels of the prompt, also beside a reply.
PROMPT_LABEL_NAMES = ("prompt_harm_label", "prompt_label")
# Labels that are yes or no. The value is what yes means.
YES_NO_NAMES = {
    "harmful": "harmful",
    "is_harmful": "harmful",
    "unsafe": "harmful",
    "is_unsafe": "harmful",
    "toxic": "harmful",
    "is_toxic": "harmful",
    "harmless": "harmless",
    "safe": "harmless",
    "is_safe": "harmless",
    "benign": "harmless",
}
LANGUAGE_NAMES = ("language", "lang", "language_code", "lang_code", "locale")
ID_NAMES = ("id", "prompt_id", "row_id", "question_id", "behaviorid", "behavior_id", "index", "idx")
# English originals of a file with one row per language.
ENGLISH_NAMES = ("en", "english", "english_prompt", "prompt_en", "en_prompt", "en_text", "source_text", "original")
REPLY_NAMES = ("response", "answer", "reply", "completion", "output")
_OTHER_NAMES = ("target", "type", "category", "source", "tags", "focus", "note", "functionalcategory", "risk_area")

_AFFIXES = "prompt|text|question|goal|query|instruction"
_WITH_AFFIX = re.compile(rf"(?:{_AFFIXES})[_-](?P<after>[a-z]{{2,3}})|(?P<before>[a-z]{{2,3}})[_-](?:{_AFFIXES})")
_WITH_REGION = re.compile(r"([a-z]{2,3})[-_](?:[a-z]{2}|[a-z]{4}|[0-9]{3})")


def is_known_name(cell: str) -> bool:
    """Whether a cell is a column name of a published file, of babelguard's format, or of a language."""
    name = cell.strip().casefold()
    names = (*TEXT_NAMES, *LABEL_NAMES, *YES_NO_NAMES, *LANGUAGE_NAMES, *ID_NAMES, *REPLY_NAMES, *_OTHER_NAMES)
    return name in names or name in (*REQUIRED, *METADATA) or column_code(cell) is not None


def column_code(column: str) -> str | None:
    """Return the language that a column name stands for: `en`, `zh-CN`, `German`, `prompt_en`. `id` is none."""
    name = column.strip().casefold()
    if name == INDONESIAN.casefold():
        return "id"
    if name == "id":
        return None
    if affixed := _WITH_AFFIX.fullmatch(name):
        name = affixed["after"] or affixed["before"]
    return language_value(name)


@cache
def language_value(value: str) -> str | None:
    """Return the code of a language given by its code or by its English or own name. None if it is not known."""
    name = value.strip().casefold()
    if region := _WITH_REGION.fullmatch(name):
        name = region[1]
    name = OLD_CODES.get(name, name)
    return name if name in LANGUAGES else _by_name().get(name)


# Other names of languages in published files.
_OTHER_NAMES_OF = {
    "filipino": "tl",
    "farsi": "fa",
    "mandarin": "zh",
    "simplified chinese": "zh",
    "chinese (simplified)": "zh",
    "norwegian bokmål": "no",
}


@cache
def _by_name() -> dict[str, str]:
    own = {known.native_name.casefold(): known.code for known in LANGUAGES.values()}
    return _OTHER_NAMES_OF | own | {known.name.casefold(): known.code for known in LANGUAGES.values()}
