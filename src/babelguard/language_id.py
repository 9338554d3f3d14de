"""Language identification with py3langid, restricted to the languages that babelguard knows."""

from __future__ import annotations

from functools import cache
from typing import Any

from babelguard.languages import LANGUAGES

# Closely related languages (Danish, Norwegian) are often almost equally probable, so a clear margin is required.
CLEAR_MARGIN = 0.9
# Texts with fewer letters ("PDF?") are too short to identify.
MIN_LETTERS = 4


@cache
def identifier() -> tuple[Any, frozenset[str]]:
    """Load the identifier once. Returns it with the codes of the languages it can return.

    Rarer languages and dialects are excluded, because short texts are often mistaken for them.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    # A separate instance: the one behind the module's functions does not normalise probabilities.
    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = frozenset(LANGUAGES.keys() & set(model.labels))
    model.set_languages(sorted(known))
    return model, known


def enough_letters(text: str) -> bool:
    """Whether a text has enough letters for its language to be identified."""
    return sum(map(str.isalpha, text)) >= MIN_LETTERS


def is_foreign(text: str, language: str) -> bool | None:
    """Whether another language is clearly more probable than the expected one.

    Args:
        text: The text, for example a reply.
        language: Code of the expected language.

    Returns:
        True or False, or None if the text has too few letters or the identifier does not know the language.
    """
    model, known = identifier()
    if language not in known or not enough_letters(text):
        return None
    ranked = model.rank(text)
    return bool(ranked[0][1] - dict(ranked)[language] > CLEAR_MARGIN)
