"""Interrupting `babelguard corpus translate` and resuming it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from calls import invoke, succeed
from translator import read_lines, run, serve, write_rows


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as running:
        yield running


def call(server, path, output, *more):
    given = ["--engine", "openai", "--engine-model", "tiny-translator", "--base-url", server.url, "--output", output]
    return ["corpus", "translate", path, "--to", "ko,da", *given, *more]


def test_a_killed_job_resumes(server, tmp_path):
    path = write_rows(tmp_path / "mine.jsonl")
    run(server, path, tmp_path / "whole")
    server.behave = lambda *_: time.sleep(0.05)
    arguments = call(server, path, tmp_path / "out", "--batch-size", "1", "--parallel", "1")
    log, start = tmp_path / "out" / "translations.jsonl", len(server.asked)
    process = subprocess.Popen(
        [sys.executable, "-m", "babelguard", *map(str, arguments)], stdout=subprocess.DEVNULL, env=os.environ
    )
    until = time.monotonic() + 30
    while time.monotonic() < until and not (log.exists() and log.read_bytes().count(b"\n") >= 5):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    time.sleep(0.2)  # wait for the pending request
    done = log.read_bytes().count(b"\n")
    assert 5 <= done < 24
    assert len(server.asked) - start <= done + 1
    log.write_bytes(log.read_bytes() + b'{"key": "cut o')  # an incomplete line, as after a kill
    server.behave = lambda *_: None
    succeed(*arguments)
    assert len(server.asked) - start <= 24 + 1
    assert len(read_lines(log)) == 24
    for name in ("prompts.jsonl", "review.csv", "report.md"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_ctrl_c_does_not_wait_for_replies(server, tmp_path):
    path = write_rows(tmp_path / "mine.jsonl")
    release = threading.Event()
    server.behave = lambda *_: None if release.wait(60) else 500
    arguments = call(server, path, tmp_path / "out", "--batch-size", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "babelguard", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background processes with SIGINT ignored, and the test must not depend on that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 30
    while time.monotonic() < until and len(server.asked) < 4:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130 and "run the same command again" in said
    assert time.monotonic() - start < 15
    release.set()


def test_ctrl_c_explains_how_to_resume(server, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("babelguard.corpus.translation.translator.Translator._split", stop)
    result = invoke(*call(server, write_rows(tmp_path / "mine.jsonl"), tmp_path / "out"))
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr
