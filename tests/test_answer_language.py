"""An answer counts as one in another language only if that language is clearly more probable."""

from __future__ import annotations

import pytest

from babelguard import language_id
from babelguard.language_id import identifier, is_foreign


class Fixed:
    """An identifier that returns these probabilities."""

    def __init__(self, **probabilities):
        self.probabilities = probabilities

    def rank(self, text):
        return sorted(self.probabilities.items(), key=lambda pair: -pair[1])


@pytest.mark.parametrize(
    ("norwegian", "foreign"),
    [(0.02, False), (0.5, False), (0.8, False), (0.94, False), (0.96, True), (0.999, True)],
)
def test_the_lead_of_the_other_language_must_be_clear(monkeypatch, norwegian, foreign):
    fixed = Fixed(no=norwegian, da=1 - norwegian)
    monkeypatch.setattr(language_id, "identifier", lambda: (fixed, frozenset({"no", "da"})))
    assert is_foreign("Du kan koge æggene.", "da") is foreign


def test_close_relatives_are_not_mistaken_for_another_language():
    text = "Du kan stekke egg i en panne."  # probably Norwegian, but not clearly
    ranked = dict(identifier()[0].rank(text))
    lead = max(ranked.values()) - ranked["da"]
    assert 0.5 < lead < 0.9
    assert is_foreign(text, "da") is False
