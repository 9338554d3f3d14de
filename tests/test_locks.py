"""Two processes do not write to one folder, and the lock of a killed process is taken over."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from calls import fail, invoke, succeed, tree
from translator import run, write_rows

from babelguard.errors import UserError
from babelguard.files import LOCK, locked

HOLD = """
import sys, time
from pathlib import Path
from babelguard.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
# Takes the lock as often as possible. While it is held, nobody else may have made the file.
ALONE = """
import os, sys, time
from pathlib import Path
from babelguard.errors import UserError
from babelguard.files import locked
folder, count, end = Path(sys.argv[1]), 0, time.monotonic() + 3
while time.monotonic() < end:
    try:
        with locked(folder):
            os.close(os.open(folder / "mine", os.O_CREAT | os.O_EXCL))
            time.sleep(0.001)
            (folder / "mine").unlink()
            count += 1
    except UserError as error:
        assert "is using the folder" in str(error), error
print(count)
"""
HELD = r"The process {} on \S+ \(since \d{{4}}-\d\d-\d\d \d\d:\d\d UTC\) is using the folder \S+; wait until"
pytestmark = pytest.mark.usefixtures("judge_of_bytes")


@pytest.fixture
def held():
    """Let other processes hold the locks of folders. Returns a function that starts one."""
    started = []

    def hold(folder):
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_second_process_is_told_who_has_the_folder(held, tmp_path):
    process = held(tmp_path / "new" / "out")
    with pytest.raises(UserError, match=HELD.format(process.pid)), locked(tmp_path / "new" / "out"):
        pass
    # The failed attempt has not released the lock.
    with pytest.raises(UserError, match=HELD.format(process.pid)), locked(tmp_path / "new" / "out"):
        pass


def test_the_lock_of_a_killed_process_is_taken_over(held, tmp_path):
    process = held(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_two_threads_of_a_process_do_not_share_a_folder(tmp_path):
    with locked(tmp_path):
        with pytest.raises(UserError, match=f"The process {os.getpid()} on"), locked(tmp_path):
            pass
        with pytest.raises(UserError, match=HELD.format(os.getpid())), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_a_lock_that_does_not_say_who_holds_it(held, tmp_path):
    held(tmp_path)
    (tmp_path / LOCK).write_bytes(b"\xff")
    with pytest.raises(UserError, match="Another process is using"), locked(tmp_path):
        pass


def test_a_failure_releases_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        1 / 0  # noqa: B018
    with locked(tmp_path):
        pass


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(UserError, match="not a folder"), locked(folder):
            pass
    assert (tmp_path / "out").read_text() == "mine"


def test_many_processes_have_a_folder_one_after_the_other(tmp_path):
    run = [sys.executable, "-c", ALONE, str(tmp_path)]
    started = [subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate() for process in started]
    assert [error for _, error in said] == [""] * 4
    assert sum(int(count) for count, _ in said) > 20


def test_a_run_in_use(command, held, tmp_path):
    out = tmp_path / "run"
    line = command("llama", out, "--limit", 1, "--steps", 0)
    process = held(out)
    before = tree(out)
    assert re.search(HELD.format(process.pid), fail(*line))
    assert tree(out) == before
    process.kill()
    process.wait()
    succeed(*line)
    assert (out / "metrics.json").exists() and not (out / LOCK).exists()


def test_commands_on_a_finished_run_in_use(finished, folders, files, held, tmp_path):
    run, _ = finished("llama")
    evaluation = tmp_path / "evaluation"
    evaluate = ["evaluate", run, "--prompts", files / "corpus.csv", "--judge", "patterns", "--reply-tokens", 4]
    evaluate += ["--limit", 1, "--output", evaluation]
    process = held(evaluation)
    assert re.search(HELD.format(process.pid), fail(*evaluate))
    assert tree(evaluation).keys() == {LOCK}
    process.kill()
    process.wait()
    succeed(*evaluate)
    process = held(evaluation)
    before = tree(evaluation)
    assert re.search(HELD.format(process.pid), fail("judge", evaluation, "--judge", "patterns"))
    assert tree(evaluation) == before


def test_a_translation_in_use(server, held, tmp_path):
    path = write_rows(tmp_path / "mine.jsonl")
    run(server, path, tmp_path / "out")
    (tmp_path / "out" / "translations.jsonl").open("ab").write(b'{"key": "being wri')
    process, asked = held(tmp_path / "out"), len(server.asked)
    before = tree(tmp_path / "out")
    with pytest.raises(UserError, match=HELD.format(process.pid)):
        run(server, path, tmp_path / "out", ("ko", "da", "cs"))
    assert tree(tmp_path / "out") == before and len(server.asked) == asked


def test_two_translations_at_once_send_every_text_once(server, tmp_path):
    path = write_rows(tmp_path / "mine.jsonl")
    server.behave = lambda *_: time.sleep(0.3)
    given = ["--engine", "openai", "--engine-model", "t", "--base-url", server.url, "--output", tmp_path / "out"]
    line = [
        str(part) for part in ("corpus", "translate", path, "--to", "da", *given, "--batch-size", 1, "--parallel", 1)
    ]
    run = [sys.executable, "-m", "babelguard", *line]
    started = [subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in started]
    assert sorted(process.returncode for process in started) == [0, 2]
    assert "is using the folder" in "".join(said)
    assert len(server.texts("Danish")) == len(set(server.texts("Danish"))) == 6
    assert invoke(*line).exit_code == 0
