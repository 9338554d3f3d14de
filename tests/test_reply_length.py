"""The length of replies in tokens: languages that need more tokens for the same text get more."""

from __future__ import annotations

import pytest
from calls import user_error

from babelguard.corpus import load_corpus
from babelguard.evaluation import reply_length
from babelguard.evaluation.reply_length import reply_budgets, token_ratios

# The same texts: twice as many tokens in Danish, 1.3 times in Korean, ten times in Thai, half as many in Greek.
TEXTS = {
    "en": ("x" * 40, "x" * 60),
    "da": ("x" * 80, "x" * 120),
    "ko": ("x" * 50, "x" * 80),
    "th": ("x" * 400, "x" * 600),
    "el": ("x" * 20, "x" * 30),
}


def letters(texts, add_special_tokens=True):
    """A tokenizer with one token per letter, and a special token at the beginning."""
    assert isinstance(texts, list)
    return {"input_ids": [[0] * add_special_tokens + [ord(letter) for letter in text] for text in texts]}


@pytest.fixture
def texts(monkeypatch):
    monkeypatch.setattr(reply_length, "_texts", lambda: TEXTS)


def test_ratios_are_relative_to_english_and_limited():
    assert token_ratios(letters, TEXTS) == {"en": 1.0, "da": 2.0, "ko": 1.3, "th": 4.0, "el": 1.0}


def test_a_tokenizer_without_tokens():
    said = user_error(lambda: token_ratios(lambda texts, **_: {"input_ids": [[] for _ in texts]}, TEXTS))
    assert "finds no tokens" in said


@pytest.mark.usefixtures("texts")
def test_lengths_are_multiples_of_eight_and_english_keeps_its_own():
    assert reply_budgets(letters, TEXTS, 32) == {"en": 32, "da": 64, "ko": 48, "th": 128, "el": 32}
    # 1.3 times 20 is 26: rounded up. English and languages that need no more tokens are not rounded.
    assert reply_budgets(letters, TEXTS, 20) == {"en": 20, "da": 40, "ko": 32, "th": 80, "el": 20}


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize("english", [4, 5, 12, 24, 32, 100])
def test_no_length_is_more_than_four_times_that_of_english(english):
    for code, tokens in reply_budgets(letters, TEXTS, english).items():
        assert english <= tokens <= 4 * english
        assert tokens % 8 == 0 or tokens in (english, 4 * english), code


@pytest.mark.usefixtures("texts")
def test_a_language_that_the_corpus_lacks_has_the_longest_replies():
    # Otherwise its replies could be cut off before it is clear whether they refuse.
    assert reply_budgets(letters, ["qq", "en"], 32) == {"qq": 128, "en": 32}


def test_the_texts_are_the_training_rows_of_the_built_in_corpus():
    found = reply_length._texts()
    rows = load_corpus().split("train")
    assert found["en"] == tuple(rows.texts("en"))
    assert set(found) == set(rows.languages)
    assert {len(one) for one in found.values()} == {len(rows.rows)}


def test_a_tokenizer_of_bytes_needs_more_tokens_for_other_scripts(loaded):
    _, tokenizer = loaded("llama")
    budgets = reply_budgets(tokenizer, ("en", "da", "ko", "hi"), 32)
    assert budgets["en"] == 32 <= budgets["da"] < budgets["hi"] <= 128
    assert all(tokens % 8 == 0 for tokens in budgets.values())
