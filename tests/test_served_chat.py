"""`babelguard chat URL`: replies are streamed from a server."""

from __future__ import annotations

import pytest
from calls import fail, succeed
from served import KEY, chat, serve, stream


@pytest.fixture
def server(monkeypatch):
    for name in ("BABELGUARD_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as running:
        running.models = ["soft"]
        running.said = stream("Hel", "lo", {"content": None}, " there.")
        running.behave = lambda body, _: running.said if body.get("stream") else chat("Hi", model=body["model"])
        yield running


def talk(server, text, *more):
    """Send lines, and return what is shown and the bodies of the streamed requests."""
    said = succeed("chat", server.url, *more, input=text)
    return said, [body for body in server.bodies if body.get("stream")]


def test_a_chat(server):
    said, bodies = talk(
        server, "Hi\n\nAgain\n/reset\n/compare\n/what\nNew\n/quit\nnever\n", "--tokens", 7, "--system", "Be kind."
    )
    assert "'soft' is served. /reset   /quit" in said
    assert said.count("> Hello there.\n") == 3 and "new conversation" in said
    assert "chat with another --model of the server" in said
    system, first = {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}
    assert [body["messages"] for body in bodies] == [
        [system, first],
        [system, first, {"role": "assistant", "content": "Hello there."}, {"role": "user", "content": "Again"}],
        [system, {"role": "user", "content": "New"}],
    ]
    assert {(body["model"], body["max_tokens"], body["temperature"]) for body in bodies} == {("soft", 7, 0)}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (stream({"reasoning_content": "Let me"}, "Hi."), "> Hi.\n"),
        (
            stream({"reasoning": "Let me think"}, finish="length"),
            "(only a thought; allow longer replies with --tokens)",
        ),
        (stream(finish="stop"), "(an empty reply)"),
        (stream("Half", finish="content_filter"), "(refused by the content filter of the server)"),
        (b"<html>", "(no reply; the server does not stream"),
        ((200, b"data: {\n\n", {"Content-Type": "text/event-stream"}), "failed (the reply of the endpoint is not"),
        (
            (200, b'data: {"choices": 1}\n\n', {"Content-Type": "text/event-stream"}),
            "failed (the reply of the endpoint",
        ),
        (
            (400, {"error": {"message": "too long"}}, {}),
            "failed (the endpoint returned status 400: too long); send your",
        ),
        ((400, {"error": {"message": "content_filter"}}, {}), "content_filter"),
        ("half", "failed"),
    ],
)
def test_ends_of_replies(server, said, shown):
    server.said = said
    found, _ = talk(server, "Hi\n/quit\n")
    assert shown in found and "Let me" not in found


def test_a_failed_message_is_not_part_of_the_history(server):
    answers = iter([(400, {"error": {"message": "no"}}, {}), stream("Yes.")])
    server.behave = lambda body, _: next(answers) if body.get("stream") else chat("Hi")
    said, bodies = talk(server, "One\nTwo\n")
    assert "> Yes." in said
    assert [one["content"] for one in bodies[1]["messages"]] == ["Two"]


def test_control_characters_and_markup_are_shown_as_they_are(server):
    server.said = stream("[bold]", " x", "[/bold]")
    assert "> [bold] x[/bold]\n" in talk(server, "Hi\n")[0]


def test_errors_before_the_chat(server, monkeypatch):
    server.models = ["a", "b"]
    assert "serves several models (a, b); set --model" in fail("chat", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.behave = lambda *_: (401, {}, {})
    assert "does not accept the key" in fail("chat", server.url, "--model", "a")
    assert "RUN" in fail("chat", "http://127.0.0.1:9/v1", "--model", "a")
