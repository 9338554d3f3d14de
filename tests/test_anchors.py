"""The tokens that begin refusals and answers."""

import torch

from babelguard.judges import Verdict
from babelguard.method.anchors import COMPLIANCE, Anchors
from babelguard.method.first_tokens import first_tokens

# One direction per word, so the coordinates of a state are the logits of the words.
WORDS = ["sorry", "cannot", "yes", "first", "take", "I", "rare", "<unused>"]
HEAD = torch.eye(len(WORDS))


def state(**probabilities: float) -> torch.Tensor:
    """Return a state after which the given words have these probabilities, and all others nearly 0."""
    values = torch.tensor([probabilities.get(word.strip("<>"), 1e-7) for word in WORDS])
    return torch.log(values)


def anchors(
    refused: list[torch.Tensor], answered: list[torch.Tensor], languages: str = "", foreign: tuple[int, ...] = ()
) -> Anchors:
    """Build anchors. `languages`: one code per anchor; `foreign`: places of replies in another language."""
    states = torch.stack([*refused, *answered])
    compliance = torch.tensor([0.0] * len(refused) + [1.0] * len(answered))
    return Anchors(
        states=states,
        last_states=states,
        compliance=compliance,
        harmless=compliance.clone(),
        languages=tuple(languages.split() or ["en"] * len(states)),
        foreign=torch.tensor([place in foreign for place in range(len(states))]),
    )


def words(rows: torch.Tensor) -> set[str]:
    return {WORDS[int(row.argmax())] for row in rows}


def found(anchor_rows: Anchors, *harmless: torch.Tensor, per_row: int = 3, languages: tuple[str, ...] = ("en",)):
    rows = [one[None] for one in harmless] + [torch.zeros(0, len(WORDS))] * (len(languages) - len(harmless))
    return first_tokens(HEAD, anchor_rows, rows, languages=languages, banned=[7, 8], per_row=per_row)


def belonging(rows: torch.Tensor, belongs: torch.Tensor) -> list[set[str]]:
    return [words(rows[one]) for one in belongs]


def test_only_replies_that_refuse_or_comply_count():
    assert {verdict: COMPLIANCE.get(verdict) for verdict in Verdict} == {
        "refused": 0.0,
        "supported": 0.0,
        "partial": 1.0,
        "answered": 1.0,
        "unhelpful": None,
        "broken": None,
        "unscored": None,
    }


def test_refusals_are_found_by_probability_and_not_only_if_they_come_first():
    known = anchors([state(sorry=0.9, cannot=0.05, rare=0.004)], [state(yes=0.7, first=0.3)])
    first = found(known, state(yes=0.5, take=0.4, rare=0.1))
    assert first is not None
    assert words(first.refusing) == {"sorry", "cannot"}
    assert words(first.answering) == {"yes", "take", "rare"}


def test_a_word_that_begins_answers_as_well_is_no_refusal():
    # "I" is twice as likely after refusals as after answered anchors, but not as for harmless rows, and the other way round.
    for answered, harmless in ((0.1, 0.4), (0.4, 0.1)):
        known = anchors([state(sorry=0.7, I=0.3)], [state(yes=1 - answered, I=answered)])
        first = found(known, state(yes=1 - harmless, I=harmless))
        assert first is not None
        assert words(first.refusing) == {"sorry"}
        assert {"yes", "I"} <= words(first.answering)


def test_a_word_that_begins_refusals_a_little_more_often_is_neutral_for_harmless_queries():
    known = anchors([state(sorry=0.5, I=0.3, first=0.2)], [state(yes=0.8)])
    first = found(known, state(yes=0.5, I=0.2, first=0.3))
    assert first is not None
    assert belonging(first.refusing, first.refuses_in) == [{"sorry"}]
    assert belonging(first.answering, first.answers_in) == [{"yes", "first"}]
    assert belonging(first.answering, first.neutral_in) == [{"I"}]


def test_the_clearest_refusal_is_taken_in_a_language_without_a_clear_one():
    known = anchors([state(sorry=0.9), state(I=0.5, first=0.4)], [state(yes=0.9)], "en da en")
    first = found(known, state(yes=0.9), state(I=0.3, first=0.3, take=0.3), languages=("en", "da"))
    assert first is not None
    assert belonging(first.refusing, first.refuses_in) == [{"sorry"}, {"I"}]
    # A word that begins answers at least as often is no refusal. Without any, a refusal may begin as in the other languages.
    known = anchors([state(sorry=0.9), state(I=0.3, rare=0.7)], [state(yes=0.9)], "en da en")
    first = found(known, state(yes=0.9), state(I=0.2, rare=0.8), languages=("en", "da"))
    assert first is not None
    assert belonging(first.refusing, first.refuses_in) == [{"sorry"}, {"I"}]
    known = anchors([state(sorry=0.9), state(I=0.3, rare=0.7)], [state(yes=0.9)], "en da en")
    first = found(known, state(yes=0.9), state(I=0.3, rare=0.7), languages=("en", "da"))
    assert first is not None
    assert belonging(first.refusing, first.refuses_in) == [{"sorry"}, {"sorry"}]


def test_a_model_without_a_clear_refusal_in_any_language_has_no_first_tokens():
    # The judge takes some replies of a model that never refuses for refusals. Their first tokens are nearly those of answers.
    for likely, clear in ((0.28, False), (0.32, True)):
        known = anchors([state(I=likely, yes=1 - likely)], [state(yes=0.9, I=0.1)], "da en")
        first = found(known, state(yes=0.9, I=0.1), state(yes=0.9, I=0.1), languages=("en", "da"))
        assert (first is not None) == clear


def test_placeholders_are_never_taken():
    known = anchors([state(sorry=0.5, unused=0.5)], [state(yes=1.0)])
    first = found(known, state(yes=0.5, unused=0.4, take=0.1))
    assert first is not None
    assert words(first.refusing) == {"sorry"}
    assert words(first.answering) == {"yes", "take"}


def test_a_word_belongs_to_the_languages_where_it_is_likely():
    known = anchors([state(sorry=0.9), state(cannot=0.8, sorry=0.1)], [state(yes=1.0)], "en da en")
    first = found(known, state(yes=0.8, first=0.2), state(take=0.7, first=0.2, yes=0.1), languages=("en", "da"))
    assert first is not None
    assert belonging(first.answering, first.answers_in) == [{"yes", "first"}, {"take", "first"}]
    assert belonging(first.refusing, first.refuses_in) == [{"sorry"}, {"cannot"}]


def test_refusals_in_another_language_than_the_request_are_no_examples_for_its_language():
    known = [state(sorry=0.9), state(sorry=0.8, cannot=0.1), state(cannot=0.9, sorry=0.1)], [state(yes=1.0)]
    harmless = state(yes=1.0), state(take=1.0)
    for foreign, expected in (((), {"sorry", "cannot"}), ((1,), {"cannot"}), ((1, 2), {"sorry"})):
        first = found(anchors(*known, "en da da en", foreign), *harmless, languages=("en", "da"))
        assert first is not None
        # Without any example, a refusal may begin as in the other languages.
        assert belonging(first.refusing, first.refuses_in)[1] == expected


def test_without_refusals_or_answers_there_are_no_first_tokens():
    assert found(anchors([], [state(yes=1.0)]), state(yes=1.0)) is None
    only_refusals = anchors([state(sorry=1.0)], [state(yes=1.0)])
    assert found(only_refusals, state(sorry=1.0), per_row=1) is None


def test_the_logit_scale_of_the_model_is_applied():
    known = [state(sorry=0.9, cannot=0.05, rare=0.004)], [state(yes=0.7, first=0.3)]
    plain = found(anchors(*known), state(yes=0.5, take=0.4, rare=0.1))
    halved = anchors(*[[one / 2 for one in states] for states in known])
    harmless = state(yes=0.5, take=0.4, rare=0.1)[None]
    doubled = first_tokens(HEAD, halved, [harmless], languages=["en"], banned=[7], scale=2.0, per_row=3)
    assert plain is not None
    assert doubled is not None
    torch.testing.assert_close(doubled.refusing, 2 * plain.refusing)
    torch.testing.assert_close(doubled.answering, 2 * plain.answering)
