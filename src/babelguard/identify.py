"""Which language a text is in, by py3langid among the languages that babelguard knows."""

from __future__ import annotations

from functools import cache
from typing import Any

from babelguard.languages import LANGUAGES

# Close relatives (Danish and Norwegian) are often nearly as likely as the right language: only a clear lead counts.
CLEAR = 0.9
# Fewer letters do not tell a language ("PDF?").
FEW_LETTERS = 4


@cache
def identifier() -> tuple[Any, frozenset[str]]:
    """The identifier, and the languages that it chooses among.

    With rarer ones and dialects in the race, short texts often come out as one of those.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    # An instance of its own: the module's functions share one, whose probabilities are not normalised.
    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = frozenset(LANGUAGES.keys() & set(model.labels))
    model.set_languages(sorted(known))
    return model, known


def enough_letters(text: str) -> bool:
    """Whether a text is long enough for its language to be told."""
    return sum(map(str.isalpha, text)) >= FEW_LETTERS


def is_foreign(text: str, language: str) -> bool | None:
    """Whether another language is clearly more probable than the one expected.

    Args:
        text: For example a reply.
        language: Code of the language that is expected.

    Returns:
        None where it cannot be told: too few letters, or a language that the identifier does not know.
    """
    model, known = identifier()
    if language not in known or not enough_letters(text):
        return None
    ranked = model.rank(text)
    return bool(ranked[0][1] - dict(ranked)[language] > CLEAR)
