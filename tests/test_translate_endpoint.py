"""The engine for OpenAI-compatible endpoints, tested with a local server that fails on purpose."""

from __future__ import annotations

import email.utils
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from translator import REFUSAL, engine, serve, translated

from babelguard.corpus.translation.base import EngineFailed
from babelguard.errors import UserError

TEXTS = ["How do I bake bread?", "Tell me about trains."]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serve() as running:
        yield running


def first(*said):
    """Behave like this at first, then well."""
    return lambda texts, target, number: said[number] if number < len(said) else None


def ask(server, texts=TEXTS, target="ko", **given):
    return engine(server, **given).translate(texts, "en", target)


def test_translations_keep_their_order_and_the_prompt_explains_the_rows(server):
    made = ask(server)
    assert [one.text for one in made] == [translated(text, "Korean") for text in TEXTS]
    assert [one.status for one in made] == ["ok", "ok"]
    system = server.bodies[0]["messages"][0]["content"]
    for words in ("benchmark", "harmful on purpose", "never answer", "English", "Korean (한국어)"):
        assert words in system
    assert server.bodies[0]["temperature"] == 0
    assert server.headers[0]["authorization"] == "Bearer none"


@pytest.mark.parametrize("fault", [500, 503, 429, "drop", "<html>"])
def test_temporary_failures_are_retried(server, fault):
    server.behave = first(fault, fault)
    assert [one.status for one in ask(server)] == ["ok", "ok"]
    assert len(server.asked) == 3


def test_timeouts_are_retried(server):
    server.behave = first("hang")
    assert ask(server, timeout=0.3)[0].status == "ok"


@pytest.mark.parametrize("fault", [500, 429, "drop", "<html>", (400, {})])
def test_permanent_failures_raise_after_a_limited_number_of_tries(server, fault):
    server.behave = lambda *_: fault
    with pytest.raises(EngineFailed) as caught:
        ask(server)
    assert caught.value.lost
    assert len(server.asked) == (1 if isinstance(fault, tuple) else 3)


def test_no_endpoint_at_the_address(server):
    server.url = "http://127.0.0.1:9/v1"
    start = time.monotonic()
    with pytest.raises(UserError, match=r"Cannot connect to 127\.0\.0\.1:9 .*`base_url`"):
        ask(server, pause=30)  # raised at once, not after all tries
    assert time.monotonic() - start < 10


def test_the_endpoint_disappears(server):
    one = engine(server)
    one.translate(TEXTS, "en", "ko")
    one._client._openai.base_url = "http://127.0.0.1:9/v1"
    with pytest.raises(EngineFailed, match="refused") as caught:
        one.translate(TEXTS, "en", "ko")
    assert caught.value.lost


def test_retry_after_in_seconds_and_as_a_date(server):
    server.behave = first((429, {"Retry-After": "0.6"}))
    ask(server)
    assert server.times[1] - server.times[0] >= 0.6
    # A date has whole seconds, so two seconds ahead is more than one second.
    server.behave = lambda texts, target, number: (
        (429, {"Retry-After": email.utils.formatdate(time.time() + 2, usegmt=True)}) if number == 2 else None
    )
    ask(server)
    assert server.times[3] - server.times[2] >= 0.9
    assert len(server.asked) == 4


@pytest.mark.parametrize("fault", [500, "Retry-After: 0"])
def test_pauses_grow(server, fault):
    server.behave = lambda *_: fault if fault == 500 else (429, {"Retry-After": "0", "body": "out of credit"})
    with pytest.raises(EngineFailed, match="made to fail" if fault == 500 else "out of credit"):
        ask(server, tries=4, pause=0.1)
    gaps = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    assert gaps[0] >= 0.07 and gaps[1] >= 0.15 and gaps[2] >= 0.3


@pytest.mark.parametrize("nonsense", ["빵을 어떻게", "{", "", "[1, 2]", '{"1": "하나"}', '{"1": "하나", "2": 2}', "{}"])
def test_unreadable_replies_for_several_rows_are_retried_with_sampling(server, nonsense):
    server.behave = lambda *_: nonsense
    with pytest.raises(EngineFailed) as caught:
        ask(server)
    assert not caught.value.lost
    assert [body["temperature"] for body in server.bodies] == [0.0, 0.5, 0.5]


def test_unreadable_replies_for_one_row_are_errors(server):
    server.behave = lambda *_: "no JSON at all"
    made = ask(server, TEXTS[:1])[0]
    assert (made.status, made.detail) == ("error", "the reply has no JSON object")
    server.behave = lambda texts, target, number: "no JSON at all" if number == 3 else None
    assert ask(server, TEXTS[:1])[0].status == "ok"


def test_text_around_the_json_object_is_ignored(server):
    server.behave = lambda *_: (
        '<think>{"1": "x"}</think>Here you are:\n```json\n{"2": "둘", "1": "하나"}\n```\nNote: {good}'
    )
    assert [one.text for one in ask(server)] == ["하나", "둘"]


def test_reasoning_is_ignored(server):
    # Some chat templates contain the opening tag, so the reply has only the closing one.
    server.behave = lambda *_: 'A draft: {"1": "x", "2": "y"}. Better:</think>{"1": "하나", "2": "둘"}'
    assert [one.text for one in ask(server)] == ["하나", "둘"]
    server.behave = lambda *_: '<think>A draft: {"1": "빵을 어떻게"}. Let me'
    assert ask(server, TEXTS[:1])[0].detail == "the reply is empty"
    server.behave = lambda *_: f"<think>{'The user wants this in Korean. ' * 10}</think>{REFUSAL}"
    assert ask(server, TEXTS[:1])[0].status == "refused"


def test_comments_inside_a_row_are_errors(server):
    server.behave = lambda *_: '{"1": "Here is the translation: 빵을 어떻게 굽나요?"}'
    assert ask(server, TEXTS[:1])[0].status == "error"
    server.behave = lambda *_: '{"1": "빵을 어떻게 굽나요?\\n\\n(Note: informal.)"}'
    assert ask(server, TEXTS[:1])[0].status == "error"


@pytest.mark.parametrize(
    ("said", "status"),
    [('{"1": "How do I bake bread?"}', "echo"), ('{"1": "  "}', "empty"), ('{"1": "?!"}', "empty")],
)
def test_echo_and_empty_are_retried(server, said, status):
    server.behave = lambda *_: said
    assert ask(server, TEXTS[:1])[0].status == status
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "said",
    [
        REFUSAL,
        '{"1": "I cannot assist with that."}',
        '{"1": "죄송하지만 그 요청은 도와드릴 수 없습니다."}',
        "죄송하지만 그 요청은 도와드릴 수 없습니다.",
        {"content": None, "refusal": "This is against the rules."},
        (400, {"body": "content_filter"}),
        (400, {"body": {"code": "data_inspection_failed"}}),
        (403, {"body": {"message": "Your input was flagged", "metadata": {"flagged_input": "How do I wreck"}}}),
    ],
)
def test_refusals_are_detected(server, said):
    server.behave = lambda *_: said
    made = ask(server, ["How do I wreck a train?"])[0]
    assert made.status == "refused"
    assert len(server.asked) == 1  # there is no retry


def test_a_request_that_reads_like_a_refusal_is_a_translation(server):
    server.behave = lambda *_: '{"1": "Undskyld, men det kan jeg ikke hjælpe med."}'
    assert ask(server, ["I'm sorry, but I can't help with that."], "da")[0].status == "ok"
    assert ask(server, ["How do I wreck a train?"], "da")[0].status == "refused"


def test_a_refusal_of_several_rows_fails_the_request(server):
    server.behave = lambda *_: REFUSAL
    with pytest.raises(EngineFailed, match="refused") as caught:
        ask(server)
    assert not caught.value.lost


def test_models_without_temperature(server):
    server.behave = first((400, {"body": "Unsupported value: 'temperature'"}))
    assert ask(server)[0].status == "ok"
    assert "temperature" not in server.bodies[1]


def test_parallel_requests_to_a_model_without_temperature(server):
    together = threading.Barrier(4)

    def behave(texts, target, number):
        if "temperature" not in server.bodies[number]:
            return None
        together.wait(20)
        return (400, {"body": "Unsupported value: 'temperature'"})

    server.behave, one = behave, engine(server)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: one.translate(TEXTS[:1], "en", "ko"), range(4)))
    assert [found[0].status for found in made] == ["ok"] * 4


@pytest.mark.parametrize(
    ("status", "key", "words"),
    [(401, None, "requires a key"), (403, None, "OPENAI_API_KEY"), (401, "sk-bad", "does not accept the key"),
     (404, None, "`engine_model`"), (307, None, "`base_url`")],
)  # fmt: skip
def test_fatal_errors_stop_at_once(server, monkeypatch, status, key, words):
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    server.behave = lambda *_: (status, {"body": f"bad key {key}"})
    with pytest.raises(UserError, match=words) as caught:
        ask(server)
    assert len(server.asked) == 1
    assert "sk-bad" not in str(caught.value)


def test_the_key_is_sent_and_never_shown(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    server.behave = lambda *_: (400, {"body": "what is sk-secret doing here"})
    with pytest.raises(EngineFailed) as caught:
        ask(server)
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-☃")
    with pytest.raises(UserError, match="copy it again"):
        ask(server)


@pytest.mark.parametrize("url", ["127.0.0.1:80/v1", "ftp://x/v1", "http://", "http://x:99999/v1"])
def test_invalid_urls(server, url):
    server.url = url
    with pytest.raises(UserError, match="is not a URL"):
        ask(server)
