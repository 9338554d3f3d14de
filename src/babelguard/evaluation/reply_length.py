"""How many tokens a reply may have in each language, so that every language can say the same.

Tokenizers need more tokens for some languages than for others: a sentence of 21 tokens in English can have 75 in Hindi. With
one limit for all, replies in such languages are cut off before it is clear whether they refuse.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from babelguard.corpus import load_corpus
from babelguard.errors import UserError

# A reply may have at most this many times the tokens of an English reply.
MAX_RATIO = 4.0
# Limits are rounded up to a multiple, so that languages with similar limits share batches.
STEP = 8
ENGLISH = "en"
# Tokens per byte, relative to English, of a language whose tokens are not known.
ESTIMATE = 2.0


def reply_budgets(tokenizer: Any, languages: Iterable[str], english: int) -> dict[str, int]:
    """Return the maximum length of a reply in tokens, by language.

    The limit is `english` times the tokens that the training rows of the built-in corpus need in this language, relative to
    English; at least `english` and at most four times as many. Languages that are not in the corpus get the same limit as
    the corpus language with the highest ratio, so that their replies are not cut off earlier than others.

    Args:
        tokenizer: Tokenizer of the model.
        languages: Codes.
        english: The limit for English.
    """
    ratios = token_ratios(tokenizer, _texts())
    unknown = max(ratios.values())
    return {code: _rounded(english, ratios.get(code, unknown)) for code in languages}


def estimated_budgets(languages: Iterable[str], english: int) -> dict[str, int]:
    """Return the maximum length of a reply in tokens by language, if the tokenizer of the model is not known.

    Tokenizers have few tokens for languages other than English, so a token holds fewer bytes. The ratio is therefore taken to
    be `ESTIMATE` times the UTF-8 bytes of the same texts, relative to English. With the tokenizer of the
    demo model, the result is at least that of `reply_budgets` in all languages of the corpus but Amharic and Yoruba.

    Args:
        languages: Codes.
        english: The limit for English.
    """
    bytes_of = {code: sum(len(text.encode()) for text in texts) for code, texts in _texts().items()}
    ratios = {
        code: 1.0 if code == ENGLISH else min(MAX_RATIO, max(1.0, ESTIMATE * count / bytes_of[ENGLISH]))
        for code, count in bytes_of.items()
    }
    return {code: _rounded(english, ratios.get(code, MAX_RATIO)) for code in languages}


def token_ratios(tokenizer: Any, texts: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    """Return the number of tokens of the texts in each language, relative to English, in [1, 4].

    Args:
        tokenizer: Tokenizer of the model.
        texts: The same texts in each language, English among them.

    Raises:
        UserError: If the tokenizer finds no tokens in the English texts.
    """
    counts = {
        code: sum(map(len, tokenizer(list(found), add_special_tokens=False)["input_ids"]))
        for code, found in texts.items()
    }
    if not counts[ENGLISH]:
        raise UserError("The tokenizer of the model finds no tokens in English texts; download the model again.")
    return {code: min(MAX_RATIO, max(1.0, count / counts[ENGLISH])) for code, count in counts.items()}


def _rounded(english: int, ratio: float) -> int:
    if ratio == 1.0:
        return english
    return min(math.ceil(english * ratio / STEP) * STEP, int(MAX_RATIO * english))


@cache
def _texts() -> dict[str, tuple[str, ...]]:
    rows = load_corpus().split("train")
    return {code: tuple(rows.texts(code)) for code in rows.languages}
