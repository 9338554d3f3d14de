"""The proxy between a client and a stand-in engine, over loopback."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from standin import WORDS, Engine, serving
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.testclient import TestClient

from babelguard.proxy.app import application
from babelguard.proxy.defended import Defended
from babelguard.proxy.settings import Settings

MODEL = Defended("safe", "engine-name", ("<unused0>",), (6,))
CHAT = "/v1/chat/completions"
BODY = {"model": "safe", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def running():
    """Yield an engine and its URL."""
    engine = Engine()
    with serving(engine.app) as url:
        yield engine, url


@pytest.fixture
def engine(running):
    """The engine, without what earlier tests did to it."""
    engine, _ = running
    engine.mode = "answer"
    engine.bodies.clear()
    engine.headers.clear()
    engine.hung_up.clear()
    engine.go.clear()
    return engine


@pytest.fixture
def client(running, engine):
    """Return a function that starts a proxy within the test, and returns a client of it."""
    made = []

    def start(**settings):
        app = application(MODEL, Settings(**{"upstream": running[1]} | settings))
        made.append(TestClient(app, raise_server_exceptions=False))
        return made[-1].__enter__()

    yield start
    for one in made:
        one.__exit__(None, None, None)


@contextmanager
def on_loopback(url, **settings):
    """Serve a proxy on loopback, and yield a client of it."""
    app = application(MODEL, Settings(upstream=url, **settings))
    with serving(app) as address, httpx.Client(base_url=address, timeout=20, trust_env=False) as http:
        yield http


def error(response, status):
    assert response.status_code == status, response.text
    message = response.json()["error"]["message"]
    assert message.endswith(".")
    return message


def test_a_reply_has_the_name_of_the_defended_model(client, engine):
    response = client().post(CHAT, json=BODY)
    assert response.status_code == 200
    assert response.json()["model"] == "safe"
    assert response.json()["choices"][0]["message"]["content"] == "".join(WORDS)
    assert [body["model"] for body in engine.bodies] == ["engine-name"]
    assert not {"set-cookie", "server"} & {name.lower() for name in response.headers}


def test_only_the_defended_model_is_listed(client):
    http = client()
    assert [one["id"] for one in http.get("/v1/models").json()["data"]] == ["safe"]
    assert "use 'safe'" in error(http.post(CHAT, json=BODY | {"model": "base"}), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(
            ("POST", path)
            for path in (
                "/v1/completions",
                "/v1/responses",
                "/v1/embeddings",
                "/v1/messages",
                "/v1/load_lora_adapter",
                "/v1/chat/completions/",
                "//v1/chat/completions",
                "/v1/models",
                "/v1/chat/completions%2F",
                "/v1/chat/completions/render",
                "/chat/completions",
                "/api/chat",
                "/api/generate",
                "/generate",
                "/completion",
                "/infill",
                "/apply-template",
                "/tokenize",
                "/detokenize",
                "/slots/0",
                "/inference/v1/generate",
                "/invocations",
            )
        ),
        *(
            ("GET", path)
            for path in ("/", "/v1/chat/completions", "/metrics", "/props", "/openapi.json", "/v1/models/safe")
        ),
        *((method, "/v1/chat/completions") for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "ODD")),
    ],
)
def test_other_routes_are_refused(client, engine, method, path):
    response = client().request(method, path, json=BODY)
    assert "not forwarded" in error(response, 403)
    assert not engine.bodies


def test_a_refused_request_does_not_reach_the_engine(client, engine):
    http = client(metrics=True)
    assert "'chat_template'" in error(http.post(CHAT, json=BODY | {"chat_template": "x"}), 403)
    assert "'odd'" in error(http.post(CHAT, json=BODY | {"odd": "x"}), 403)
    assert not engine.bodies
    text = http.get("/metrics").text
    assert 'babelguard_proxy_refused_fields_total{field="chat_template"} 1.0' in text
    assert 'babelguard_proxy_refused_fields_total{field="other"} 1.0' in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/json; charset=utf-16"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "application/json; charset=UTF-8"}, 200),
    ],
)
def test_only_plain_json_is_read(client, headers, status):
    response = client().post(CHAT, content=json.dumps(BODY), headers={"Content-Type": "application/json"} | headers)
    assert response.status_code == status


@pytest.mark.parametrize("chunked", [False, True])
def test_long_bodies_are_refused(client, engine, chunked):
    body = json.dumps(BODY | {"user": "x" * 2000}).encode()
    content = iter([body]) if chunked else body
    response = client(max_body=1000).post(CHAT, content=content, headers={"Content-Type": "application/json"})
    assert "1000 bytes" in error(response, 413)
    assert not engine.bodies


def test_long_chats_are_checked_too(client, engine):
    long = BODY | {"messages": [{"role": "user", "content": "x" * 100_000 + "<unused0>"}]}
    assert client().post(CHAT, json=long).status_code == 200
    assert engine.bodies[0]["messages"][0]["content"].endswith("x< unused0>")


def test_headers_are_not_passed_on(client, engine):
    secret = {"X-Api-Key": "secret", "Cookie": "a=secret", "X-Forwarded-For": "secret", "Accept-Encoding": "gzip"}
    http = client()
    http.post(CHAT + "?key=secret", json=BODY, headers=secret | {"Authorization": "Bearer mine"})
    http.post(CHAT, json=BODY)
    first, second = engine.headers
    assert first.keys() == {
        "host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length", "authorization",
    }  # fmt: skip
    assert first["authorization"] == "Bearer mine" and first["accept-encoding"] == "identity"
    assert "authorization" not in second and "cookie" not in second


def test_keys(client, engine):
    http = client(client_key="door", upstream_key="inner", metrics=True)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "door"}, {"Authorization": "Bearer ðoor"}):
        raw = {name: value.encode() for name, value in headers.items()}
        for response in (http.post(CHAT, json=BODY, headers=raw), http.get("/v1/models", headers=raw)):
            assert "key" in error(response, 401)
        assert http.get("/metrics", headers=raw).status_code == 401
    assert http.get("/healthz").status_code == 200
    assert not engine.bodies
    assert http.post(CHAT, json=BODY, headers={"Authorization": "Bearer door"}).status_code == 200
    assert engine.headers[0]["authorization"] == "Bearer inner"


def test_the_key_of_the_proxy_does_not_reach_the_engine(client, engine):
    http = client(client_key="door")
    assert http.post(CHAT, json=BODY, headers={"Authorization": "Bearer door"}).status_code == 200
    assert "authorization" not in engine.headers[0]


def test_two_keys_are_refused(client, engine):
    twice = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
    assert "twice" in error(client().post(CHAT, json=BODY, headers=twice), 400)
    assert not engine.bodies


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_errors_of_the_engine_are_passed_on(client, engine, status, stream):
    message = "The model `engine-name` does not like inner or mine."
    engine.mode = JSONResponse({"error": {"message": message}}, status, headers={"Retry-After": "7", "X-Engine": "v"})
    http = client(upstream_key="inner")
    response = http.post(CHAT, json=BODY | {"stream": stream})
    assert error(response, status) == "The model `safe` does not like [key] or mine."
    assert response.headers["retry-after"] == "7" and "x-engine" not in response.headers


def test_the_key_of_a_client_is_removed_from_errors(client, engine):
    engine.mode = PlainTextResponse("wrong key: mine", 401)
    response = client().post(CHAT, json=BODY, headers={"Authorization": "Bearer mine"})
    assert (response.status_code, response.text) == (401, "wrong key: [key]")


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        (PlainTextResponse("<html>"), "JSON object"),
        (JSONResponse([1]), "JSON object"),
        (RedirectResponse("http://127.0.0.1:1/"), "redirection"),
        (Response(b"{}", headers={"Content-Encoding": "gzip"}), "connection to the engine failed"),
    ],
)
def test_odd_replies(client, engine, mode, why):
    engine.mode = mode
    assert why in error(client().post(CHAT, json=BODY), 502)


def test_pages_of_the_engine_are_not_shown_as_pages(client, engine):
    engine.mode = Response("<script>", 500, media_type="text/html")
    response = client().post(CHAT, json=BODY)
    assert (response.status_code, response.headers["content-type"]) == (500, "text/plain; charset=utf-8")


def test_an_engine_that_is_down(client):
    http = client(upstream="http://127.0.0.1:9")
    assert "cannot be reached" in error(http.post(CHAT, json=BODY), 502)
    assert "cannot be reached" in error(http.get("/readyz"), 503)
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/v1/models").status_code == 200


def test_readiness(client, engine):
    http = client()
    assert http.get("/readyz").status_code == 200
    engine.name = "other"
    try:
        assert "'engine-name'" in error(http.get("/readyz"), 503)
    finally:
        engine.name = "engine-name"


def test_a_slow_engine(client, engine):
    engine.mode = "silent"
    assert "0.2 seconds" in error(client(timeout=0.2).post(CHAT, json=BODY), 504)
    assert engine.hung_up.wait(10)


def test_metrics(client):
    http = client(metrics=True)
    broken = BODY | {"messages": [{"role": "user", "content": "<unused0> <unused0>"}]}
    http.post(CHAT, json=broken)
    http.post(CHAT, json=BODY | {"model": "x" * 50})
    text = http.get("/metrics").text
    assert 'babelguard_proxy_requests_total{status="200"} 1.0' in text
    assert 'babelguard_proxy_requests_total{status="404"} 1.0' in text
    assert "babelguard_proxy_placeholders_broken_up_total 2.0" in text
    assert "babelguard_proxy_request_seconds_count 2.0" in text
    assert "xxx" not in text


def events(lines):
    """Return the data of the events of a stream."""
    return [line.removeprefix("data: ") for line in lines if line]


def test_a_stream_is_not_held_back(running, engine):
    engine.mode = "stall"
    with on_loopback(running[1]) as http, http.stream("POST", CHAT, json=BODY | {"stream": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        first = next(lines)  # the engine sends nothing more until then
        engine.go.set()
        *chunks, end = events([first, *lines])
    values = [json.loads(chunk) for chunk in chunks]
    assert [value["choices"][0]["delta"]["content"] for value in values] == list(WORDS)
    assert {value["model"] for value in values} == {"safe"}
    assert end == "[DONE]"


def test_a_stream_that_breaks_off(running, engine):
    engine.mode = "die"
    with on_loopback(running[1]) as http, http.stream("POST", CHAT, json=BODY | {"stream": True}) as response:
        got = events(response.iter_lines())
    assert json.loads(got[0])["model"] == "safe"
    assert json.loads(got[-1])["error"]["message"].endswith(".")
    assert "[DONE]" not in got


@pytest.mark.parametrize(("mode", "stream"), [("silent", False), ("silent", True), ("stall", True)])
def test_a_client_that_hangs_up(running, engine, mode, stream):
    engine.mode = mode
    with on_loopback(running[1]) as http:
        with (
            pytest.raises(httpx.ReadTimeout),
            http.stream("POST", CHAT, json=BODY | {"stream": stream}, timeout=httpx.Timeout(20, read=0.5)) as response,
        ):
            response.read()
        assert engine.hung_up.wait(10)
        engine.mode = "answer"
        assert http.post(CHAT, json=BODY).status_code == 200


def test_a_client_that_sends_slowly(running, engine):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    app = application(MODEL, Settings(running[1], body_timeout=0.2))
    with serving(app) as address, socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 10) as slow:
        slow.sendall(head)
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
    assert not engine.bodies


def test_proxies_and_logins_of_the_environment_are_ignored(client, engine, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("default login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert client().post(CHAT, json=BODY).status_code == 200
    assert "authorization" not in engine.headers[0]


def test_requests_at_the_same_time(running, engine):
    engine.mode = "stall"
    with on_loopback(running[1]) as http, ThreadPoolExecutor(2) as pool:
        both = threading.Barrier(2)

        def ask():
            with http.stream("POST", CHAT, json=BODY | {"stream": True}) as response:
                lines = response.iter_lines()
                first = next(lines)
                both.wait(10)  # both streams have begun
                engine.go.set()
                return events([first, *lines])

        one, other = (job.result() for job in [pool.submit(ask), pool.submit(ask)])
    assert one == other and one[-1] == "[DONE]" and len(one) == 4
