"""The command `babelguard proxy`: exports, names, keys, and its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest
import uvicorn
from calls import fail, succeed
from standin import Engine, serving
from starlette.testclient import TestClient

from babelguard.export.manifest import MANIFEST, PROMPT, Manifest, sha256
from babelguard.export.openai_messages import PAYLOAD
from babelguard.files import write_json
from babelguard.prompt.storage import WEIGHTS

CHAT = "/v1/chat/completions"
BODY = {"model": "safe-export", "messages": [{"role": "user", "content": "Say <unused0>"}]}
PART = {"type": "prompt_embeds", "data": "QUJD"}


@pytest.fixture
def export(tmp_path):
    """Return a function that writes an export, of which the proxy reads the manifest and the vectors only."""

    def write(exporter="checkpoint", **changes):
        folder = tmp_path / "safe-export"
        (folder / PROMPT).mkdir(parents=True)
        (folder / PROMPT / WEIGHTS).write_bytes(b"x")
        if exporter == "prompt-embeds":
            payload = {"part": PART, "default_system": "", "chat_template_kwargs": {}}
            write_json(folder / PAYLOAD, payload)
        files = [path for path in folder.rglob("*") if path.is_file()]
        given = {
            "format": 1,
            "type": "babelguard export",
            "exporter": exporter,
            "babelguard": "1",
            "base_model": "tiny/chat",
            "base_revision": None,
            "base_licence": None,
            "prompt_sha256": "0",
            "tokens": ["<unused0>"],
            "token_ids": [6],
            "source": "reserved",
            "template_sha256": "0",
            "served_name": None,
            "dtype": "float32",
            "facts": {},
            "files": {path.relative_to(folder).as_posix(): sha256(path) for path in files},
        }
        write_json(folder / MANIFEST, Manifest.model_validate(given | changes).model_dump(mode="json"))
        return folder

    return write


@pytest.fixture
def engine():
    """Yield an engine with one model, and its URL."""
    engine = Engine("base")
    with serving(engine.app) as url:
        yield engine, url


def run(folder, url, *options, **keys):
    """Start the command, and return the process and the URL that it prints."""
    command = [sys.executable, "-m", "babelguard", "proxy", str(folder), "--upstream", url, "--port", "0", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"} | keys,
    )
    line = process.stdout.readline()
    assert "http://" in line, process.communicate(timeout=10)
    return process, "http://" + line.partition("http://")[2].partition("/v1")[0]


def stop(process):
    """End the command with Ctrl+C, and return its exit code and its output."""
    process.send_signal(signal.SIGINT)
    return (process.wait(20), *process.communicate())


def test_the_command(export, engine):
    standin, url = engine
    keys = {"BABELGUARD_PROXY_KEY": "door-key", "BABELGUARD_UPSTREAM_KEY": "inner-key"}
    process, address = run(export(), url + "/v1/", "--metrics", "--upstream-model", "engine-name", **keys)
    with httpx.Client(
        base_url=address, headers={"Authorization": "Bearer door-key"}, trust_env=False, timeout=20
    ) as http:
        assert [one["id"] for one in http.get("/v1/models").json()["data"]] == ["safe-export"]
        assert http.post(CHAT, json=BODY, headers={"Authorization": "Bearer wrong"}).status_code == 401
        response = http.post(CHAT, json=BODY)
        assert response.json()["model"] == "safe-export"
        assert 'status="401"' in http.get("/metrics").text
    code, out, err = stop(process)
    assert (code, err) == (0, "")
    body = standin.bodies[0]
    assert body["model"] == "engine-name" and body["logit_bias"] == {"6": -100}
    assert body["messages"][0]["content"] == "Say < unused0>"
    assert standin.headers[0]["authorization"] == "Bearer inner-key"
    assert not any(secret in out + err for secret in ("door-key", "inner-key", "unused0"))


def test_embeddings_and_names(export, engine, monkeypatch):
    standin, url = engine
    standin.others = ("other",)  # so the name cannot be asked for
    started = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: started.append(server.config.app))
    names = ("--served-name", "nice", "--upstream-model", "base")
    said = succeed("proxy", export("prompt-embeds"), "--upstream", url, "--port", 0, "--host", "0.0.0.0", *names)
    assert "Serving 'nice'" in said and "need no key" in said
    with TestClient(started[0]) as http:
        assert http.post(CHAT, json=BODY).status_code == 404
        assert http.post(CHAT, json=BODY | {"model": "nice"}).status_code == 200
    assert standin.bodies[0]["messages"][0] == {"role": "system", "content": [PART]}
    assert standin.bodies[0]["model"] == "base" and "logit_bias" not in standin.bodies[0]


def test_the_only_model_of_the_engine_is_used(export, engine, monkeypatch):
    started = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: started.append(server.config.app))
    succeed("proxy", export(), "--upstream", engine[1], "--port", 0, "--no-suppress", "--refuse", "seed")
    with TestClient(started[0]) as http:
        assert http.post(CHAT, json=BODY | {"seed": 1}).status_code == 403
        assert http.post(CHAT, json=BODY).status_code == 200
    assert engine[0].bodies[0]["model"] == "base" and "logit_bias" not in engine[0].bodies[0]


def test_what_is_not_an_export(tmp_path):
    assert "is not an export of babelguard" in fail("proxy", tmp_path, "--upstream", "http://127.0.0.1:9")
    (tmp_path / MANIFEST).write_text("{")
    assert "is damaged" in fail("proxy", tmp_path, "--upstream", "http://127.0.0.1:9")


def test_changed_vectors(export):
    folder = export("prompt-embeds")
    (folder / PAYLOAD).write_text("{}")
    assert "was changed after the export" in fail("proxy", folder, "--upstream", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("127.0.0.1:8000", "--upstream '127.0.0.1:8000' is not a URL"),
        ("ftp://127.0.0.1", "is not a URL"),
        ("http://", "is not a URL"),
        ("http://127.0.0.1:99999", "is not a URL"),
        ("http://127.0.0.1:8000/a b", "is not a URL"),
        ("http://me:secret@127.0.0.1", "contains a user name"),
        ("http://127.0.0.1/?key=1", "has a query"),
        ("http://127.0.0.1:9", "cannot be asked for the name of its model"),
    ],
)
def test_wrong_urls(export, url, why):
    text = fail("proxy", export(), "--upstream", url)
    assert why in text and "secret" not in text


def test_an_engine_with_several_models(export, engine):
    engine[0].others = ("other",)
    assert "2 models (base, other); choose one with --upstream-model" in fail(
        "proxy", export(), "--upstream", engine[1]
    )


@pytest.mark.parametrize("field", ["odd", "messages", "model"])
def test_fields_that_cannot_be_refused(export, field):
    given = ("--upstream", "http://127.0.0.1:9", "--refuse", "tools", "--refuse", field)
    assert f"The field '{field}' in --refuse" in fail("proxy", export(), *given)


@pytest.mark.parametrize("variable", ["BABELGUARD_PROXY_KEY", "BABELGUARD_UPSTREAM_KEY"])
@pytest.mark.parametrize("key", ["a b", "a\tb", "ð"])
def test_wrong_keys(export, monkeypatch, variable, key):
    monkeypatch.setenv(variable, key)
    text = fail("proxy", export(), "--upstream", "http://127.0.0.1:9")
    assert variable in text and key not in text


def test_a_port_in_use(export):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = ("--upstream", "http://127.0.0.1:9", "--upstream-model", "x", "--port", port)
        assert "choose another --host or --port" in fail("proxy", export(), *given)


@pytest.mark.parametrize("name", ["uvicorn", "starlette", "httpx", "prometheus_client"])
def test_a_missing_package(export, monkeypatch, name):
    for module in [module for module in sys.modules if module.startswith("babelguard.proxy")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    text = fail("proxy", export(), "--upstream", "http://127.0.0.1:9")
    assert f"needs the library {name}" in text and "babelguard[proxy]" in text
