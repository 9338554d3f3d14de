"""`babelguard export --push-to-hub`, against a local stand-in of the hub."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import tiny
from calls import fail, succeed, tree
from hub import TOKEN, serve

from babelguard.export.manifest import read_manifest


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve() as running:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        yield running


@pytest.fixture
def given(loaded, folders, tmp_path):
    """Return the arguments of an export to `tmp_path / "out"`."""
    tiny.make_prompt(*loaded("llama")).save_pretrained(tmp_path / "prompt")
    base = ["--to", "lora", "--output", tmp_path / "out", "--model", folders("llama")]
    return ["export", tmp_path / "prompt", *base, "--push-to-hub"]


def test_an_export_is_uploaded_and_private(hub, given, tmp_path):
    said = succeed(*given, "me/safe-chat")
    assert f"Uploaded to {hub.url}/me/safe-chat" in said
    assert hub.repos["me/safe-chat"]["private"]
    written = tree(tmp_path / "out")
    assert hub.repos["me/safe-chat"]["files"] == written
    assert TOKEN not in said and not [name for name, content in written.items() if TOKEN.encode() in content]
    read_manifest(tmp_path / "out")


def test_another_process_uploads(hub, given, tmp_path):
    """The address of the hub comes from the environment, as users set it."""
    changed = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "babelguard", *map(str, given), "me/safe-chat", "--public"]
    done = subprocess.run(command, env=os.environ | changed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not hub.repos["me/safe-chat"]["private"]
    assert hub.repos["me/safe-chat"]["files"] == tree(tmp_path / "out")


def test_a_second_export_replaces_the_first(hub, given, tmp_path):
    hub.add("me/safe-chat", {".gitattributes": b"", "babelguard.json": b"{}", "old.bin": b"old"})
    succeed(*given, "me/safe-chat")
    files = hub.repos["me/safe-chat"]["files"]
    assert files.keys() == {".gitattributes", *tree(tmp_path / "out")}


REFUSED = {
    "other files": ("me/mine", "has other files and is not an export"),
    "public": ("me/public", "is public; set --public if everybody may see the export"),
    "no owner": ("safe-chat", "has no owner; set --push-to-hub to USER/NAME"),
    "not a name": ("me/a b", "is not the name of a repository"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_repositories_that_are_refused_before_the_export(hub, given, tmp_path, wrong):
    hub.add("me/mine", {"thesis.pdf": b"pdf"})
    hub.add("me/public", {}, private=False)
    repo, said = REFUSED[wrong]
    assert said in fail(*given, repo)
    assert not (tmp_path / "out").exists()
    assert not [path for _, path in hub.asked if "commit" in path or "create" in path]


def test_without_a_token(hub, given, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "run 'hf auth login', or set HF_TOKEN" in fail(*given, "me/safe-chat")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("broken", ["/api/repos/create", "/api/models/me/safe-chat/preupload"])
def test_a_failed_upload_keeps_the_folder_and_says_how_to_repeat(hub, given, tmp_path, broken, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client repeats some requests
    hub.broken = (broken,)
    sentence = fail(*given, "me/safe-chat")
    out = tmp_path / "out"
    assert f"The export in {out} is complete, but was not uploaded" in sentence
    assert f"'hf upload me/safe-chat {out} . --private'" in sentence
    assert TOKEN not in sentence
    read_manifest(out)


def test_the_name_that_a_licence_requires(hub, loaded, folders, tmp_path):
    prompt = replace(tiny.make_prompt(*loaded("llama")), base_licence="llama3.1")
    prompt.save_pretrained(tmp_path / "prompt")
    given = ["export", tmp_path / "prompt", "--to", "lora", "--model", folders("llama"), "--push-to-hub"]
    sentence = fail(*given, "me/safe-chat", "--output", tmp_path / "out")
    assert "a name that begins with Llama; set --push-to-hub to me/Llama-safe-chat" in sentence
    succeed(*given, "me/Llama-safe-chat", "--output", tmp_path / "out")
    files = hub.repos["me/Llama-safe-chat"]["files"]
    card = files["README.md"].decode()
    assert "# Llama-chat with a safety prompt" in card.replace("llama-chat", "Llama-chat")
    assert "**Built with Llama**" in card
    assert b"Llama 3.1 is licensed under the Llama 3.1 Community License" in files["NOTICE"]
