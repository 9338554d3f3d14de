"""Identification of the language of a reply."""

import pytest

from babelguard.corpus import load_corpus
from babelguard.language_id import identifier, is_foreign


@pytest.mark.parametrize(
    ("text", "language", "foreign"),
    [
        ("You can boil the eggs for about seven minutes.", "da", True),
        ("Du kan koge æggene i omkring syv minutter.", "da", False),
        ("계란을 칠 분 정도 삶으면 됩니다.", "ko", False),
        ("You can boil the eggs for about seven minutes.", "ko", True),
        ("PDF?", "da", None),
        ("42", "en", None),
        ("You can boil the eggs.", "xx", None),
    ],
)
def test_is_foreign(text: str, language: str, foreign: bool | None) -> None:
    assert is_foreign(text, language) is foreign


def test_no_row_of_the_corpus_is_taken_for_another_language() -> None:
    corpus = load_corpus().split("validation")
    assert set(corpus.languages) <= identifier()[1]
    wrong = [(code, text) for code in corpus.languages for text in corpus.texts(code) if is_foreign(text, code)]
    assert not wrong
