"""Guard judges at an OpenAI-compatible endpoint: a local server that fails in the ways a test asks for."""

from __future__ import annotations

import math
import socket
import sys
import threading
import time

import pytest
from served import KEY, chat, serve

from babelguard.endpoint import Retry
from babelguard.errors import UserError
from babelguard.judges.base import Exchange, JudgeOptions, Verdict
from babelguard.judges.create import create_judge
from babelguard.judges.guards.endpoint import Endpoint
from babelguard.judges.guards.qwen3guard import Qwen3Guard
from babelguard.judges.guards.shieldgemma import ShieldGemma
from babelguard.judges.rubric import RubricJudge

REFUSED = "Safety: Safe\nCategories: None\nRefusal: Yes"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as running:
        running.behave = lambda *_: chat(REFUSED)
        yield running


def exchanges(count=1):
    return [Exchange(f"question {k}", f"reply {k}", "en", "harmful") for k in range(count)]


def judge(server, guard=Qwen3Guard, count=1, **given):
    retry = Retry(tries=given.pop("tries", 1), pause=0.01)
    asker = Endpoint("served-guard", server.url, guard.form, retry=retry, **({"timeout": 5} | given))
    return guard(asker, "served-guard").judge(exchanges(count))


def unscored(server, **given):
    """Judge one reply, check that it is unscored, and return the reason."""
    (found,) = judge(server, **given)
    assert found.verdict == Verdict.UNSCORED and found.harmful is None
    assert 0 < len(found.reason) <= 200 and KEY not in found.reason
    return found.reason


def test_a_good_answer(server):
    options = JudgeOptions("served-guard", server.url)
    assert create_judge("qwen3guard", options).judge(exchanges())[0][::2] == (Verdict.REFUSED, False)
    assert server.paths == ["/v1/chat/completions"]
    assert server.bodies[0] == {
        "model": "served-guard",
        "messages": [{"role": "user", "content": "question 0"}, {"role": "assistant", "content": "reply 0"}],
        "temperature": 0,
        "max_tokens": 128,
    }
    assert server.headers[0]["authorization"] == "Bearer none"


def test_the_key_is_sent(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    judge(server)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_parallel_answers_are_in_order(server):
    """The first request of each pair is answered after the second one, which a single thread would never send."""
    both = threading.Barrier(2, timeout=5)

    def behave(body, number):
        place = int(body["messages"][0]["content"].split()[1])
        both.wait()
        time.sleep(0.05 * (place % 2 == 0))
        return chat(REFUSED if place % 3 else REFUSED.replace("Yes", "No"))

    server.behave = behave
    found = judge(server, count=8, parallel=2)
    assert [one.verdict == Verdict.ANSWERED for one in found] == [k % 3 == 0 for k in range(8)]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>It works!</html>",
        b"{",
        b"",
        b"[]",
        b"null",
        {"choices": []},
        {"choices": None},
        {"error": "made to fail"},
        {"choices": [{"finish_reason": "stop"}]},
        chat(["a list"]),
        chat({"Safety": "Safe"}),
    ],
)
def test_garbage_instead_of_a_completion(server, body):
    server.behave = lambda *_: body
    assert unscored(server) == "the reply of the endpoint is not a completion"


@pytest.mark.parametrize(
    ("content", "finish", "reason"),
    [
        (None, "stop", "empty"),
        ("", "stop", "empty"),
        ("I like bread.", "stop", "exactly the lines"),
        (REFUSED, "length", "cut off"),
        (REFUSED, "content_filter", "content filter"),
    ],
)
def test_answers_that_cannot_be_read(server, content, finish, reason):
    server.behave = lambda *_: chat(content, finish)
    assert reason in unscored(server)


def test_one_failure_does_not_stop_the_others(server):
    bad = {1: (500, {"error": {"message": "made to fail"}}, {}), 2: "close", 3: "half", 4: b"<html>"}
    server.behave = lambda body, _: bad.get(int(body["messages"][0]["content"].split()[1]), chat(REFUSED))
    found = judge(server, count=6)
    verdicts = [one.verdict for one in found]
    assert verdicts == [Verdict.REFUSED] + [Verdict.UNSCORED] * 4 + [Verdict.REFUSED]
    assert "status 500" in found[1].reason and "made to fail" in found[1].reason
    assert "connection" in found[2].reason and "connection" in found[3].reason


def test_a_time_out(server):
    server.behave = lambda *_: "hang"
    start = time.monotonic()
    assert unscored(server, timeout=0.2) == "no answer of the endpoint within 0.2 seconds"
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("status", [429, 503])
def test_temporary_failures_are_repeated_after_the_requested_pause(server, status):
    server.behave = lambda _, number: (status, {}, {"Retry-After": "0.1"}) if number == 0 else chat(REFUSED)
    start = time.monotonic()
    assert judge(server, tries=2)[0].verdict == Verdict.REFUSED
    assert len(server.bodies) == 2 and time.monotonic() - start >= 0.1


def test_retries_are_limited(server):
    server.behave = lambda *_: (429, {"error": {"message": "slow down"}}, {"Retry-After": "0.01"})
    assert "status 429" in unscored(server, tries=3)
    assert len(server.bodies) == 3


def test_the_key_is_never_shown(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.behave = lambda *_: (500, {"error": {"message": f"x {KEY} " * 50}}, {})
    assert "[key]" in unscored(server)


@pytest.mark.parametrize(
    ("status", "body", "key", "message"),
    [
        (401, {}, "", r"requires a key \(status 401\); set OPENAI_API_KEY"),
        (401, {}, KEY, r"does not accept the key \(status 401\); check OPENAI_API_KEY"),
        (403, {}, KEY, r"does not accept the key \(status 403\); check OPENAI_API_KEY"),
        (404, {}, "", r"does not know the model 'served-guard' .*check `judge_model` and `judge_url`"),
        (429, {"error": {"code": "insufficient_quota"}}, KEY, "has no credit left"),
    ],
)
def test_failures_of_all_requests_are_errors(server, monkeypatch, status, body, key, message):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    server.behave = lambda *_: (status, body, {})
    with pytest.raises(UserError, match=message) as caught:
        judge(server, count=40)
    assert str(caught.value).endswith(".") and KEY not in str(caught.value)
    assert len(server.bodies) < 40  # the others were not sent


@pytest.mark.parametrize(
    ("status", "message"), [(403, "content_filter: rejected"), (400, "the context is too long"), (422, "no")]
)
def test_failures_of_one_request_are_unscored(server, monkeypatch, status, message):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.behave = lambda *_: (status, {"error": {"message": message}}, {})
    assert message in unscored(server)
    assert len(server.bodies) == 1


def test_an_endpoint_that_cannot_be_reached(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asker = Endpoint("m", f"http://user:password@127.0.0.1:{port}/v1", Qwen3Guard.form)
    with pytest.raises(
        UserError, match=rf"^Cannot connect to 127.0.0.1:{port} \(.*\); start .* `judge_url`\.$"
    ) as caught:
        Qwen3Guard(asker, "m").judge(exchanges())
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host/v1", "http://", "http://host:port/v1", "http://[/v1"])
def test_an_invalid_url(url):
    with pytest.raises(UserError, match=r"`judge_url` .* is not a URL"):
        create_judge("qwen3guard", JudgeOptions("m", url))


def test_an_invalid_key(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ключ")
    with pytest.raises(UserError, match="OPENAI_API_KEY contains invalid characters") as caught:
        judge(server)
    assert "ключ" not in str(caught.value)


def test_the_client_library_is_missing(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError, match=r"library openai, .* pip install 'babelguard\[guards\]'\.$"):
        judge(server)


def test_parameters_that_the_model_does_not_support(server):
    def behave(body, _):
        for name in ("temperature", "max_tokens"):
            if name in body:
                return 400, {"error": {"message": f"Unsupported parameter: '{name}'"}}, {}
        return chat('{"verdict": "supported", "harmful": false}')

    server.behave = behave
    assert {one.verdict for one in judge(server, RubricJudge, count=4)} == {Verdict.SUPPORTED}
    assert server.bodies[-1].keys() == {"model", "messages", "max_completion_tokens"}


def completion(text, **chances):
    """Return the body of a text completion, with log-probabilities if any are given."""
    logprobs = {"top_logprobs": [{word: math.log(chance) for word, chance in chances.items()}]} if chances else None
    return {"choices": [{"index": 0, "text": text, "finish_reason": "length", "logprobs": logprobs}]}


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (completion("No", Yes=0.2, No=0.7), Verdict.REFUSED),
        (completion("Maybe", Yes=0.6, Maybe=0.4), Verdict.ANSWERED),
        (completion("The", Yes=0.2, The=0.8), Verdict.UNSCORED),
        (completion("Yes"), Verdict.ANSWERED),
        (completion("No"), Verdict.REFUSED),
        (completion("unsafe"), Verdict.UNSCORED),
        (completion(None), Verdict.UNSCORED),
        (chat("Yes"), Verdict.UNSCORED),
    ],
)
def test_shieldgemma_probabilities(server, body, verdict):
    server.behave = lambda *_: body
    (found,) = judge(server, ShieldGemma)
    assert found.verdict == verdict
    assert set(server.paths) == {"/v1/completions"} and len({one["prompt"] for one in server.bodies}) == 4
    assert {(one["max_tokens"], one["logprobs"]) for one in server.bodies} == {(1, 5)}


@pytest.mark.parametrize(
    ("said", "temporary"),
    [((503, {}, {}), True), ((429, {}, {}), True), ("close", True), ((400, {}, {}), False), ({}, False)],
)
def test_failures_that_may_pass_are_marked(server, said, temporary):
    server.behave = lambda *_: said
    (found,) = judge(server)
    assert (found.verdict, found.temporary) == (Verdict.UNSCORED, temporary)


def test_a_time_out_may_pass(server):
    server.behave = lambda *_: "hang"
    assert judge(server, timeout=0.2)[0].temporary
