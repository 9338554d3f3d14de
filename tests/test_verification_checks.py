"""The comparisons of `babelguard verify`, without a model."""

from __future__ import annotations

import math

import pytest
import torch

from babelguard.evaluation.outcome import ScoredReply
from babelguard.verification.checks import (
    check_first,
    check_rendering,
    check_replies,
    check_reserved,
    check_tops,
    compare_text,
    first_difference,
)
from babelguard.verification.connect import choose
from babelguard.verification.prompts import Chat, harmless_questions, make_chats
from babelguard.verification.reference import _others
from babelguard.verification.reserved import Head
from babelguard.verification.served import Answer, Expected
from babelguard.verification.tolerance import TOLERANCES, Tolerance, tolerance_of
from babelguard.verification.verdicts import REFERENCE, SERVED, check_verdicts, count_flips

STRICT = Tolerance("test", 0.1)  # margins over 0.2 count
CLEAR, NEAR = 5.0, 0.1
CHAT = Chat("da", "one question", [{"role": "user", "content": "Hej"}])


def expected(texts=("", "a", "ab", "abc"), margins=None, **changes):
    """Return a reference whose reply has three tokens."""
    count = len(texts) - 1
    first = torch.tensor([0.7, 0.2, 0.1]).log()
    given = {
        "chat": CHAT,
        "prompt_ids": (1, 2, 3),
        "path": tuple(range(count)),
        "texts": texts,
        "tops": tuple(range(count)),
        "margins": margins or (CLEAR,) * count,
        "others": ((),) * count,
        "first": first,
        "first_texts": {"a": float(first[0]), "b": float(first[1])},
        "reserved": 1e-9,
    }
    return Expected(**(given | changes))


@pytest.mark.parametrize(
    ("text", "margins", "found"),
    [
        ("abc", (CLEAR, CLEAR, CLEAR), (3, 3, None)),
        (" abc", (CLEAR, CLEAR, CLEAR), (3, 3, None)),  # some servers keep white space at the beginning
        ("abX", (CLEAR, CLEAR, CLEAR), (3, 2, 2)),
        ("Xbc", (CLEAR, CLEAR, CLEAR), (1, 0, 0)),
        ("", (CLEAR, CLEAR, CLEAR), (1, 0, 0)),
        ("ab", (CLEAR, CLEAR, CLEAR), (3, 2, 2)),  # it ended early
        ("abX", (CLEAR, CLEAR, NEAR), (2, 2, None)),
        ("aXX", (CLEAR, NEAR, CLEAR), (1, 1, None)),
        ("abX", (NEAR, NEAR, CLEAR), (3, 2, 2)),  # near ties before the mismatch are no excuse
        ("abcd", (CLEAR, CLEAR, CLEAR), (3, 3, None)),  # the last token has a text, so the server went over the limit
    ],
)
def test_a_reply_is_compared_up_to_a_near_tie(text, margins, found):
    assert compare_text(expected(margins=margins), text, STRICT) == found


@pytest.mark.parametrize(
    ("gap", "other", "text", "found"),
    [
        (NEAR, "have at", "have at least", (1, 1, None)),
        (NEAR, "have at", "have as", (3, 2, 2)),  # no likely token begins like this
        (NEAR, "have", "have at least", (3, 2, 2)),  # a token without a text, such as an end token, would end the reply
        (NEAR, "have ", "have as", (1, 1, None)),  # shorter tokens may spell the same
        (CLEAR, "have at", "have at least", (3, 2, 2)),
    ],
)
def test_another_token_can_begin_with_the_same_letters(gap, other, text, found):
    reference = expected(texts=("", "have", "have a", "have a team"), others=((), ((gap, other),), ()))
    assert compare_text(reference, text, STRICT) == found


def test_a_reply_that_does_not_end_differs_at_the_end_token():
    ended = expected(texts=("", "a", "ab", "ab"))
    assert compare_text(ended, "ab", STRICT) == (3, 3, None)
    assert compare_text(ended, "abc", STRICT) == (3, 2, 2)
    assert compare_text(expected(texts=("", "a", "ab", "ab"), margins=(CLEAR, CLEAR, NEAR)), "abc", STRICT) == (
        2,
        2,
        None,
    )


def test_within_a_character_any_of_its_tokens_may_differ():
    texts = ("", "a", "a\ufffd", "a한", "a한b")
    assert compare_text(expected(texts=texts, margins=(CLEAR, NEAR, CLEAR, CLEAR)), "a한b", STRICT) == (4, 4, None)
    assert compare_text(expected(texts=texts, margins=(CLEAR, NEAR, CLEAR, CLEAR)), "a글b", STRICT) == (1, 1, None)
    assert compare_text(expected(texts=texts), "a글b", STRICT) == (3, 2, 2)


def test_a_reply_that_ends_within_a_character_is_complete():
    assert compare_text(expected(texts=("", "a", "a\ufffd")), "a\ufffd", STRICT) == (2, 2, None)
    assert compare_text(expected(texts=("", "a", "a\ufffd")), "a", STRICT) == (2, 2, None)  # llama.cpp leaves it out


def test_bytes_that_are_no_characters_are_one_mark():
    texts = ("", "a\ufffd", "a\ufffd\ufffd\ufffd", "a\ufffd\ufffd\ufffdb")
    assert compare_text(expected(texts=texts), "a\ufffd\ufffdb", STRICT) == (3, 3, None)
    assert compare_text(expected(texts=texts), "a\ufffd\ufffdc", STRICT) == (3, 2, 2)


@pytest.mark.parametrize(
    ("answer", "state", "remark"),
    [
        (Answer(prompt_ids=(1, 2, 3)), "passed", ""),
        (Answer(prompt_ids=(1, 9, 3)), "failed", "Danish (da), one question: token 2 is 9 in place of 2"),
        (Answer(prompt_ids=(1, 2)), "failed", "Danish (da), one question: 2 tokens in place of 3"),
        (Answer(prompt_tokens=3), "passed", ""),
        (Answer(prompt_tokens=4), "failed", "Danish (da), one question: 4 tokens in place of 3"),
        (Answer(fault="the template fails"), "failed", "Danish (da), one question: the template fails"),
        (Answer(), "not checked", "the server does not tell"),
    ],
)
def test_rendered_chats(answer, state, remark):
    found = check_rendering([(expected(), answer)])
    assert (found.state, found.remark) == (state, remark)


def test_the_first_difference():
    assert first_difference([1, 2], [1, 3]) == "token 2 is 3 in place of 2"
    assert first_difference([1, 2], [1, 2, 3]) == "3 tokens in place of 2"


@pytest.mark.parametrize(
    ("tops", "margins", "state"),
    [
        ([0, 1, 2], (CLEAR, CLEAR, CLEAR), "passed"),
        ([0, 9, 2], (CLEAR, CLEAR, CLEAR), "failed"),
        ([0, 9, 2], (CLEAR, NEAR, CLEAR), "passed"),
        ([0, 1], (CLEAR, CLEAR, CLEAR), "failed"),
        ([0, 1, 2], (NEAR, NEAR, NEAR), "failed"),  # nothing was compared
        (None, (CLEAR, CLEAR, CLEAR), "not checked"),
    ],
)
def test_most_likely_tokens(tops, margins, state):
    assert check_tops([(expected(margins=margins), Answer(tops=tops))], STRICT).state == state


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Answer(first={0: -0.36, 1: -1.6}), "passed"),
        (Answer(first={0: -0.36, 1: -1.8}), "failed"),
        (Answer(first={7: -0.36}), "failed"),  # no token in common
        (Answer(first_texts={"a": -0.36, "unknown": -9.0}), "passed"),
        (Answer(first_texts={"a": -0.9}), "failed"),
        (Answer(first={0: float("nan")}), "failed"),
        (Answer(fault="it fails"), "failed"),
        (Answer(), "not checked"),
    ],
)
def test_first_log_probabilities(answer, state):
    assert check_first([(expected(), answer)], STRICT).state == state


def test_a_server_that_fails_fails_every_check():
    pairs = [(expected(margins=(NEAR, NEAR, NEAR)), Answer(fault="status 500"))]
    checks = [
        check_rendering(pairs),
        check_tops(pairs, STRICT),
        check_first(pairs, STRICT),
        check_replies(pairs, STRICT),
    ]
    assert [check.state for check in checks] == ["failed"] * 4


def test_quantised_files_may_differ_in_one_of_ten():
    tolerance = Tolerance("quantised", 0.1, 0.9)
    right, wrong = (expected(), Answer(tops=[0, 1, 2], text="abc")), (expected(), Answer(tops=[0, 1, 9], text="abX"))
    assert check_tops([right] * 9 + [wrong], tolerance).state == "passed"
    assert check_tops([right, wrong], tolerance).state == "failed"
    assert check_replies([right] * 9 + [wrong], tolerance).state == "passed"


@pytest.mark.parametrize(("reserved", "state"), [(1e-7, "passed"), (2e-6, "failed"), (float("nan"), "failed")])
def test_placeholder_tokens(reserved, state):
    assert check_reserved([expected(), expected(reserved=reserved)]).state == state


def test_the_probability_of_output_rows():
    states, logits = torch.eye(2), torch.tensor([[1.0, 2.0, 50.0], [0.0, 0.0, 50.0]])
    head = Head(torch.tensor([[3.0, 1.0], [0.5, 0.0]]), scale=2.0)
    # The third logit is that of a placeholder in the base model. The second row belongs to an id that it does not have.
    found = head.probability(states, logits, [2, 3])
    joined = torch.cat([logits[:, :2], torch.tensor([[6.0, 1.0], [2.0, 0.0]])], 1).softmax(-1)
    torch.testing.assert_close(found, joined[:, 2:])
    capped = Head(head.rows, cap=2.0).probability(states, logits, [2, 3])
    own = 2 * torch.tanh(torch.tensor([[3.0, 0.5], [1.0, 0.0]]) / 2)
    torch.testing.assert_close(capped, torch.cat([logits[:, :2], own], 1).softmax(-1)[:, 2:])


@pytest.mark.parametrize(
    ("dtype", "by_server", "name"),
    [
        ("float32", False, "float32"),
        ("float32", True, "float16"),
        ("F16", True, "float16"),
        ("bfloat16", True, "bfloat16"),
        ("BF16", False, "bfloat16"),
        ("Q8_0", True, "quantised"),
        ("quantised", False, "quantised"),
    ],
)
def test_the_tolerance_depends_on_the_number_format(dtype, by_server, name):
    assert tolerance_of(dtype, by_server) is TOLERANCES[name]


def test_the_name_of_the_model_at_a_server():
    assert choose(["a", "defended"], None, ("defended",), "host") == "defended"
    assert choose(["/models/out"], None, ("out",), "host") == "/models/out"
    assert choose(["a"], None, ("out",), "host") == "a"
    assert choose(["a", "b"], "b", ("out",), "host") == "b"
    assert choose([], None, ("out",), "host") == "out"


def test_the_chats_cover_all_languages():
    questions = harmless_questions()
    chats = make_chats(questions, with_tools=True)
    assert len(questions) >= 28
    for kind in ("one question", "system message"):
        assert [one.language for one in chats if one.kind == kind] == list(questions)
    assert [one.kind for one in chats[-2:]] == ["two turns", "tools"]
    assert all(one.messages[-1]["role"] == "user" for one in chats)
    assert make_chats({"da": "Hej"}, with_tools=False)[-1].kind == "two turns"


def scored(served, logged):
    """Return verdicts: one text of letters per language, harmful rows, a = answered, r = refused, u = unscored."""
    names = {"a": "answered", "r": "refused", "u": "unscored"}
    return [
        ScoredReply(defence, None, "da", f"row{k}", "harmful", names[letter])
        for defence, letters in ((REFERENCE, logged), (SERVED, served))
        for k, letter in enumerate(letters)
    ]


def test_flips_of_verdicts():
    assert count_flips(scored("aarru", "arrar")) == (1, 1, 4)
    same = check_verdicts(scored("ar" * 20, "ar" * 20))
    assert (same.state, same.found) == ("passed", "+0.0 [+0.0, +0.0] points")
    assert same.remark == "of 40 replies, 0 became an error and 0 no longer are"
    worse = check_verdicts(scored("a" * 12 + "r" * 28, "a" * 8 + "r" * 32))
    assert worse.state == "failed"
    assert worse.found.startswith("+10.0 [")
    assert check_verdicts(scored("u" * 10, "r" * 10)).state == "failed"


def test_the_other_likely_tokens_of_a_path():
    class Words:
        def decode(self, ids, skip_special_tokens):
            return "".join("xyz"[k] for k in ids)

    logprobs = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).log()
    first, second = _others(Words(), logprobs, [1, 2])
    assert [text for _, text in first] == ["x", "z"]  # y is on the path, though x is more likely
    assert [gap for gap, _ in first] == pytest.approx([0.0, math.log(0.5 / 0.2)])
    assert [text for _, text in second] == ["yx", "yy"]
    assert [gap for gap, _ in second] == pytest.approx([math.log(8)] * 2)
