"""Compare answers of a served model with those of the reference. Nothing here needs a model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from babelguard.verification.result import Check
from babelguard.verification.served import Answer, Expected
from babelguard.verification.tolerance import RESERVED, Tolerance

# The reference and the served model on the same chat.
Pair = tuple[Expected, Answer]
# Decoders write this for the beginning of a character, and different numbers of it for bytes that are not characters.
UNFINISHED = "\ufffd"


class Tokens(NamedTuple):
    """Tokens of one reply: how many were compared, how many of these agree, and the first that does not."""

    compared: int
    agree: int
    mismatch: int | None = None


def check_rendering(pairs: Sequence[Pair]) -> Check:
    """Check that the rendered chats have the same token ids, or the same number of tokens where ids are not known."""
    name, wrong, by_ids, by_number = "rendered chats", [], 0, 0
    for expected, answer in pairs:
        if answer.fault:
            wrong.append(f"{expected.chat.title}: {answer.fault}")
        elif answer.prompt_ids is not None:
            by_ids += 1
            if answer.prompt_ids != expected.prompt_ids:
                wrong.append(f"{expected.chat.title}: {first_difference(expected.prompt_ids, answer.prompt_ids)}")
        elif answer.prompt_tokens is not None:
            by_number += 1
            if answer.prompt_tokens != len(expected.prompt_ids):
                wrong.append(
                    f"{expected.chat.title}: {answer.prompt_tokens} tokens in place of {len(expected.prompt_ids)}"
                )
    what = "token ids" if not by_number else "numbers of tokens"
    if not (by_ids or by_number or wrong):
        return Check(name=name, state="not checked", found="", tolerance="equal", remark="the server does not tell")
    return Check(
        name=name,
        state="failed" if wrong else "passed",
        found=f"{len(pairs) - len(wrong)} of {len(pairs)}",
        tolerance=f"equal {what}",
        remark=wrong[0] if wrong else "",
    )


def first_difference(wanted: Sequence[int], found: Sequence[int]) -> str:
    """Say where two lists of token ids differ first."""
    place = next((k for k, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), None)
    if place is None:
        return f"{len(found)} tokens in place of {len(wanted)}"
    return f"token {place + 1} is {found[place]} in place of {wanted[place]}"


def check_tops(pairs: Sequence[Pair], tolerance: Tolerance) -> Check:
    """Check the most likely token after every token of the reference's replies, where its margin is large enough."""
    name, allowed = "most likely tokens", _allowed(tolerance)
    known = [(expected, answer) for expected, answer in pairs if answer.tops is not None or answer.fault]
    if not known:
        remark = "the server has no interface for it; see greedy replies"
        return Check(name=name, state="not checked", found="", tolerance=allowed, remark=remark)
    counted = [(expected, compare_tops(expected, answer, tolerance)) for expected, answer in known]
    return _tokens(name, counted, allowed, tolerance)


def compare_tops(expected: Expected, answer: Answer, tolerance: Tolerance) -> Tokens:
    """Compare the most likely tokens along the path of one reply, where the margin of the reference is large enough."""
    places = [k for k, margin in enumerate(expected.margins) if margin > tolerance.margin]
    found = answer.tops or ()
    wrong = [k for k in places if k >= len(found) or found[k] != expected.tops[k]]
    return Tokens(len(places), len(places) - len(wrong), wrong[0] if wrong else None)


def check_replies(pairs: Sequence[Pair], tolerance: Tolerance) -> Check:
    """Check the greedy replies, up to the first token at which the margin of the reference is too small."""
    name, allowed = "greedy replies", _allowed(tolerance)
    known = [(expected, answer) for expected, answer in pairs if answer.text is not None or answer.fault]
    if not known:
        return Check(name=name, state="not checked", found="", tolerance=allowed, remark="there are no replies")
    counted = [
        (expected, compare_text(expected, answer.text or "", tolerance) if not answer.fault else Tokens(1, 0, 0))
        for expected, answer in known
    ]
    return _tokens(name, counted, allowed, tolerance)


def compare_text(expected: Expected, text: str, tolerance: Tolerance) -> Tokens:
    """Compare a greedy reply with the path of the reference.

    A text does not say where its tokens end. If the texts part within a character of several tokens, any of these tokens may be
    the one that differs. Another token can also begin with the same letters: in "have a team" and "have at least", the second
    tokens differ, but the texts part later.

    Args:
        expected: The reference.
        text: The reply.
        tolerance: The tolerance. If the margin of the reference is too small where the texts part, the rest is not compared.
    """
    shown = [_plain(one).rstrip(UNFINISHED) for one in expected.texts]
    found = _plain(text)
    length = len(expected.path)
    if found.rstrip(UNFINISHED) == shown[-1]:
        return Tokens(length, length)
    same = next(k for k in range(length, -1, -1) if found.startswith(shown[k]))
    begin = next(k for k in range(same + 1) if shown[k] == shown[same])
    # If the whole text is there, one of the last tokens without a text differs, such as the end of the reply.
    last = min(same, length - 1)
    if begin > last:  # only the server did not stop at the limit
        return Tokens(length, length)
    if any(expected.margins[k] <= tolerance.margin for k in range(begin, last + 1)):
        return Tokens(begin, begin)
    for k in range(begin):
        near = {_plain(text).rstrip(UNFINISHED) for gap, text in expected.others[k] if gap <= tolerance.margin}
        if any(text != shown[k] and found.startswith(text) for text in near):
            return Tokens(k, k)
    return Tokens(last + 1, last, last)


def _plain(text: str) -> str:
    return re.sub(f"{UNFINISHED}+", UNFINISHED, text.lstrip())


def check_first(pairs: Sequence[Pair], tolerance: Tolerance) -> Check:
    """Check the log-probabilities of the first tokens of the replies."""
    name, allowed = "first log-probabilities", f"{tolerance.logprob:g} apart"
    found = [
        (expected, None if answer.fault else first_distance(expected, answer))
        for expected, answer in pairs
        if answer.fault or answer.first or answer.first_texts
    ]
    if not found:
        remark = "the server returns no log-probabilities"
        return Check(name=name, state="not checked", found="", tolerance=allowed, remark=remark)
    wrong = [(expected, far) for expected, far in found if far is None or not far <= tolerance.logprob]
    failed = len(wrong) > (1 - tolerance.share) * len(found)
    distances = sorted(far for _, far in found if far is not None)
    place = min(len(distances) - 1, int(tolerance.share * len(distances)))
    return Check(
        name=name,
        state="failed" if failed else "passed",
        found=f"{distances[place]:.2g}" if distances else "none",
        tolerance=allowed,
        remark=f"{wrong[0][0].chat.title}" if failed else "",
    )


def first_distance(expected: Expected, answer: Answer) -> float | None:
    """Return the largest difference of a first log-probability. None if the two have no token in common."""
    vocabulary = len(expected.first)
    apart = [abs(value - float(expected.first[k])) for k, value in answer.first.items() if 0 <= k < vocabulary]
    if not answer.first:
        known = expected.first_texts
        apart = [abs(value - known[token]) for token, value in answer.first_texts.items() if token in known]
    return max(apart) if apart else None


def check_reserved(expected: Sequence[Expected]) -> Check:
    """Check the probability of the placeholder tokens under the output rows of the export."""
    worst = max(expected, key=lambda one: (math.isnan(one.reserved), one.reserved))
    failed = not worst.reserved <= RESERVED
    return Check(
        name="placeholder tokens",
        state="failed" if failed else "passed",
        found=f"{worst.reserved:.1e}",
        tolerance=f"probability {RESERVED:.0e}",
        remark=f"{worst.chat.title}: the output rows of the export make them too likely" if failed else "",
    )


def _tokens(name: str, counted: Sequence[tuple[Expected, Tokens]], allowed: str, tolerance: Tolerance) -> Check:
    compared, agree = (sum(getattr(one, part) for _, one in counted) for part in ("compared", "agree"))
    failed = not compared or agree < tolerance.share * compared
    remark = "" if compared else "no position of the reference has a large enough margin"
    if failed and compared:
        where, place = next((one.chat.title, tokens.mismatch) for one, tokens in counted if tokens.mismatch is not None)
        remark = f"{where}: token {(place or 0) + 1} of the reply"
    state = "failed" if failed else "passed"
    return Check(name=name, state=state, found=f"{agree} of {compared}", tolerance=allowed, remark=remark)  # type: ignore[arg-type]


def _allowed(tolerance: Tolerance) -> str:
    share = "all" if tolerance.share == 1 else f"{tolerance.share:.0%}"
    return f"{share} with a margin > {tolerance.margin:g}"
