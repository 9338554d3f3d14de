"""`babelguard verify EXPORT --url`: real servers of tiny exports, and a server that fails in the ways a test asks for."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import engines
import exports
import pytest
import torch
import varied
from calls import fail, invoke, user_error

from babelguard.jobs.verify import verify
from babelguard.prompt import SafetyPrompt
from babelguard.verification.forced import run_along
from babelguard.verification.http import Http
from babelguard.verification.in_process import load_in_process

LLAMA, QWEN, GEMMA = varied.VARIED
RENDERED, TOPS, FIRST, REPLIES = "rendered chats", "most likely tokens", "first log-probabilities", "greedy replies"
KEY = "sk-secret-of-the-test"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function that exports a model once, and returns the folders of the base model and of the export."""
    kept = {}

    def make(name, *more):
        if (name, *more) not in kept:
            kept[name, *more] = exports.export(name, tmp_path_factory.mktemp("served") / "model", *more)
        return kept[name, *more]

    return make


def states(base, out, url, **given):
    """Verify a served export; return what serves it and the states of the checks by their names."""
    found = verify(out, url=url, model=str(base), **({"languages": "en,ko"} | given))
    return found.served_by, {check.name: check.state for check in found.checks}


def failed(base, out, url, **given):
    return [name for name, state in states(base, out, url, **given)[1].items() if state == "failed"]


@pytest.mark.parametrize("name", varied.VARIED)
def test_transformers_serve(made, name):
    base, out = made(name)
    with engines.transformers_serve(out) as url:
        kind, found = states(base, out, url)
    assert kind == "server"
    assert {key for key, state in found.items() if state == "not checked"} == {TOPS, FIRST}
    assert "failed" not in found.values()


def test_transformers_serve_with_another_export(made, tmp_path):
    base, out = made(LLAMA)
    wrong = shutil.copytree(out, tmp_path / "wrong")
    ids = list(SafetyPrompt.from_pretrained(out / "safety_prompt").slot.token_ids)
    exports.change_tensors(
        wrong, lambda tensors: tensors["model.embed_tokens.weight"].index_fill_(0, torch.tensor(ids), 0.0)
    )
    assert failed(base, wrong, None) == [TOPS, FIRST, REPLIES]
    with engines.transformers_serve(wrong) as url:
        assert failed(base, out, url) == [REPLIES]


@pytest.mark.parametrize("name", varied.VARIED)
def test_llama_cpp(made, name):
    pytest.importorskip("xllamacpp")
    from babelguard.export.llama_cpp import converter

    if not converter.folder().is_dir():
        pytest.skip("the converter is not installed")
    base, out = made(name, "gguf", "--option", "pre_tokenizer=gpt-2")
    with engines.llama_cpp(next(out.glob("*.gguf"))) as url:
        kind, found = states(base, out, url)
        assert kind == "llama.cpp"
        assert set(found.values()) == {"passed"}
    if name == LLAMA:
        _other, undefended = made(QWEN, "gguf", "--option", "pre_tokenizer=gpt-2")
        with engines.llama_cpp(next(undefended.glob("*.gguf"))) as url:
            assert RENDERED in failed(base, out, url)


class Server:
    """A server of an export with the interfaces of vLLM, by its documentation. `behave` may replace any reply.

    Attributes:
        owner: What it says that it is.
        behave: Called with the path and the body. None replies, and everything else is sent as status and JSON.
    """

    def __init__(self, base, out):
        self.model = load_in_process(out, str(base), "float32", "cpu", False)
        self.owner, self.names = "vllm", ["defended"]
        self.behave = lambda path, body: None
        self.asked = []
        self.url = ""

    def reply(self, path, body):
        if (said := self.behave(path, body)) is not None:
            return said
        if path == "/v1/models":
            return 200, {"data": [{"id": name, "owned_by": self.owner} for name in self.names]}
        if path == "/tokenize":
            ids = self.model._render(body["messages"]) if "messages" in body else [1]
            return 200, {"tokens": ids, "count": len(ids), "max_model_len": 1024}
        if path == "/v1/completions":
            assert body["max_tokens"] == 1
            values, ids = (
                run_along(self.model._model, body["prompt"][:1], body["prompt"][1:]).logits.log_softmax(-1).topk(5)
            )
            listed = [
                {
                    str(k): {"logprob": v, "rank": n + 1, "decoded_token": "?"}
                    for n, (k, v) in enumerate(zip(*one, strict=True))
                }
                for one in zip(ids.tolist(), values.tolist(), strict=True)
            ]
            return 200, {"choices": [{"text": "", "prompt_logprobs": [None, *listed]}]}
        assert path == "/v1/chat/completions", path
        ids = self.model._render(body["messages"])
        text, finished = self.model._generate(ids, body["max_tokens"])
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop" if finished else "length"}
        if body.get("logprobs"):
            values, top = run_along(self.model._model, ids, [1]).logits[0].log_softmax(-1).topk(5)
            names = [self.model._tokenizer.decode([k]) for k in top.tolist()]
            likely = [{"token": a, "logprob": b} for a, b in zip(names, values.tolist(), strict=True)]
            choice["logprobs"] = {"content": [{"token": names[0], "logprob": 0.0, "top_logprobs": likely}]}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": len(ids)}}


@contextmanager
def serving(server):
    """Run a server in a thread."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self, body):
            server.asked.append((self.path, body, dict(self.headers)))
            said = server.reply(self.path, body)
            if said == "hang":
                stop.wait(5)
                return
            if said == "close":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, content = said
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self):
            self.handle_one({})

        def do_POST(self):
            self.handle_one(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_):
            pass

    stop = threading.Event()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        stop.set()
        http.shutdown()
        http.server_close()


@pytest.fixture
def server(made):
    with serving(Server(*made(LLAMA))) as running:
        yield running


def test_a_server_with_the_interfaces_of_vllm(made, server):
    base, out = made(LLAMA)
    assert states(base, out, server.url + "/v1") == ("vLLM", dict.fromkeys(states(base, out, server.url)[1], "passed"))
    sent = [body for path, body, _ in server.asked if path == "/v1/chat/completions"]
    assert all(body["temperature"] == 0 and body["repetition_penalty"] == 1.0 for body in sent)


def test_a_server_with_log_probabilities_alone(made, server):
    base, out = made(LLAMA)
    server.owner = "somebody"
    kind, found = states(base, out, server.url)
    assert (kind, found[TOPS], found[FIRST], found[REPLIES]) == ("server", "not checked", "passed", "passed")


def test_a_server_that_rejects_log_probabilities(made, server):
    base, out = made(LLAMA)
    server.owner = "somebody"
    server.behave = lambda path, body: (400, {"error": "logprobs are not supported"}) if "logprobs" in body else None
    assert states(base, out, server.url)[1][FIRST] == "not checked"


def test_a_proxy_that_forwards_chats_alone(made, server):
    base, out = made(LLAMA)
    server.behave = lambda path, body: (
        (403, {"error": "not forwarded"}) if path in ("/tokenize", "/v1/completions") else None
    )
    kind, found = states(base, out, server.url)
    assert kind == "vLLM behind a proxy"
    assert "failed" not in found.values()


def test_a_server_of_another_model_fails(made):
    base, out = made(LLAMA)
    with serving(Server(*made(QWEN))) as other:
        assert {RENDERED, REPLIES} <= set(failed(base, out, other.url))


def test_a_server_of_the_base_model_fails(made):
    base, out = made(LLAMA)
    with serving(Server(base, base)) as other:
        assert failed(base, out, other.url) == [RENDERED, TOPS, FIRST, REPLIES]


def test_a_server_that_rejects_a_chat_fails(made, server):
    base, out = made(LLAMA)
    server.behave = lambda path, body: (
        (400, {"error": "no system role"}) if len(body.get("messages", ())) == 2 else None
    )
    result = invoke("verify", out, "--model", base, "--url", server.url, "--languages", "en")
    assert result.exit_code == 1
    assert "English (en), system message: The server 127.0.0.1" in result.stdout
    assert "no system role" in result.stdout


def test_the_model_is_named_if_there_are_several(made, server):
    base, out = made(LLAMA)
    server.names = ["base", "other"]
    assert "several models (base, other); say with --served which" in fail(
        "verify", out, "--model", base, "--url", server.url
    )
    sentence = fail("verify", out, "--model", base, "--url", server.url, "--served", "x")
    assert sentence.endswith("does not serve the model 'x', but base, other; check --served.")
    assert not failed(base, out, server.url, served="other")


FAULTS = {
    "no server": (None, "Cannot connect to"),
    "wrong key": ((401, {"error": "invalid key"}), "requires a key; set OPENAI_API_KEY (status 401)."),
    "status 500": ((500, {"error": "out of memory"}), "failed 3 times (status 500: "),
    "time-out": ("hang", "did not reply within 0.3 seconds"),
    "dies": ("close", "failed 3 times (the connection broke off: "),
    "no JSON": ((200, "<html>hello"), "is not JSON (<html>hello); check --url."),
    "redirect": ((307, {}), "redirects to another URL (status 307); set --url to that URL."),
    "no chat": ((200, {"choices": []}), "is not a chat completion; check --url"),
    "no route": ((404, {"detail": "Not Found"}), "has no chat completions at this URL; check --url."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_server_are_one_sentence(made, server, fault, monkeypatch):
    base, out = made(LLAMA)
    shutil.rmtree(out / "verification.json", ignore_errors=True)
    said, sentence = FAULTS[fault]
    # Faults that occur when the first chat is asked for.
    server.behave = lambda path, body: said if path == "/v1/chat/completions" else None
    url = server.url
    if fault == "no server":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(
        "babelguard.jobs.verify.Http", lambda url, timeout: Http(url, timeout=0.3 if said == "hang" else 9, pause=0)
    )
    shown = fail("verify", out, "--model", base, "--url", url, "--languages", "en")
    assert sentence in shown


def test_a_key_is_sent_and_never_shown(made, server, monkeypatch):
    base, out = made(LLAMA)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.behave = lambda path, body: (401, {"error": f"{KEY} is wrong"}) if path == "/v1/chat/completions" else None
    shown = fail("verify", out, "--model", base, "--url", server.url, "--languages", "en")
    assert "does not accept the key in OPENAI_API_KEY (status 401); check it." in shown
    assert KEY not in shown
    assert server.asked[0][2]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://host:0"])
def test_a_url_that_is_none(made, url):
    base, out = made(LLAMA)
    assert "is not a URL" in user_error(lambda: verify(out, url=url, model=str(base)))


def test_a_server_that_dies_in_the_middle(made, server):
    base, out = made(LLAMA)
    count = iter(range(1000))
    server.behave = lambda path, body: "close" if path == "/tokenize" and next(count) > 2 else None
    assert "failed 3 times" in fail("verify", out, "--model", base, "--url", server.url, "--languages", "en")
