"""Kill commands at random moments, run them again, and compare all files with those of an undisturbed run.

    python tests/kill_test.py [--kills 20] [--seed 0]

Each kill is a SIGKILL to a process that runs `defend`, `evaluate`, `judge` or `corpus translate` on tiny models. It comes a
random time after a random number of writes to the disk, so it does not depend on how busy the machine is. The same command
is then run to its end, in the same folder. Every file must have the same bytes as that of a run that was never killed, and no
other file may remain. Nothing is exempt: results contain neither dates nor durations. Only the lines of translations.jsonl
may be in another order, because several requests are under way at a time.

The processes are forked, so that they need not import torch and transformers again.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import cycle, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "NO_PROXY": "127.0.0.1",
}
os.environ.pop("OPENAI_API_KEY", None)
sys.path.insert(0, str(Path(__file__).parent))

import planted
from calls import tree
from translator import serve, write_rows

from babelguard.cli.app import app

SETTINGS = """
device = "cpu"
dtype = "float32"
[objective]
anchor_tokens = 4
[training]
batch_size = 8
prompt_length = 6
[selection]
every = 2
rows = 2
judge = "patterns"
[evaluation]
written = "best"
judge = "patterns"
other_judges = ""
reply_tokens = 4
rows = 3
"""
FORK = get_context("fork")
# Seconds that the translation server takes for a reply.
DELAY = 0.05
# The number of times that the running command has flushed a file to disk.
WRITES = FORK.Value("i", 0)


def serve_translations(ready: Connection) -> None:
    """Run the translation server until it is killed."""
    with serve() as server:

        def wait(*_: object) -> None:
            time.sleep(DELAY)

        server.behave = wait
        ready.send(server.url)
        signal.pause()


def run_command(arguments: list[str], log: Path) -> None:
    """Run a command in this process, and exit with its code."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    fsync = os.fsync

    def count(handle: int) -> None:
        fsync(handle)
        WRITES.value += 1

    os.fsync = count
    app(arguments)


def start(arguments: list[str], log: Path) -> FORK.Process:  # type: ignore[name-defined]
    """Start a command in a process of its own."""
    WRITES.value = 0
    process = FORK.Process(target=run_command, args=(arguments, log))
    process.start()
    return process


def run_here(arguments: list[str]) -> float:
    """Run a command in this process, so that what it imports need not be imported again. Returns the time in seconds."""
    began = time.monotonic()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        app(arguments, standalone_mode=False)
    return time.monotonic() - began


def kill_after(process: FORK.Process, writes: int, seconds: float) -> bool:  # type: ignore[name-defined]
    """Kill a process after a number of writes and some time more. Returns whether it was still running."""
    while process.is_alive() and WRITES.value < writes:
        time.sleep(0.001)
    process.join(seconds)
    alive = process.is_alive()
    process.kill()
    process.join()
    return alive


def finish(arguments: list[str], log: Path) -> float:
    """Run a command to its end. Returns the time in seconds."""
    began = time.monotonic()
    process = start(arguments, log)
    process.join()
    if process.exitcode:
        sys.exit(f"babelguard {' '.join(arguments)} ended with {process.exitcode}:\n{log.read_text()[-3000:]}")
    return time.monotonic() - began


def content(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of a folder. Lines whose order may differ are sorted."""
    found: dict[str, bytes] = tree(folder)
    for name in found:
        if name == "translations.jsonl":
            found[name] = b"\n".join(sorted(found[name].splitlines()))
    return found


def difference(found: dict[str, bytes], wanted: dict[str, bytes]) -> str:
    """Name the files that differ. Empty if there are none."""
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return ", ".join(names)


def commands(root: Path, url: str) -> dict[str, tuple[Callable[[Path], list[str]], Path | None]]:
    """Return each command as a function of its folder, and the folder that it starts from."""
    model, corpus = root / "model", root / "corpus.csv"
    given = ["--prompts", corpus, "--defence", "none", "--judge", "patterns", "--reply-tokens", "4", "--device", "cpu"]
    training = ["--config", root / "given.toml", "--corpus", corpus, "--languages", "en,da,ko", "--steps", "24"]
    engine = ["--engine", "openai", "--engine-model", "tiny-translator", "--base-url", url, "--batch-size", "1"]
    found = {
        "defend": (
            lambda folder: ["defend", model, *training, "--output", folder],
            None,
        ),
        "evaluate": (lambda folder: ["evaluate", root / "defend", *given, "--output", folder], None),
        "judge": (lambda folder: ["judge", folder, "--judge", "patterns", "--correct"], root / "evaluate"),
        "translate": (
            lambda folder: ["corpus", "translate", root / "rows.jsonl", "--to", "ko,da", *engine, "--output", folder],
            None,
        ),
    }
    return {name: (lambda folder, make=make: [*map(str, make(folder))], base) for name, (make, base) in found.items()}


def main() -> None:
    """Kill every command in turn, and stop at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve()
        planted.save_planted(root / "model")
        planted.write_corpus(root / "corpus.csv")
        (root / "given.toml").write_text(SETTINGS, encoding="utf-8")
        write_rows(root / "rows.jsonl")
        here, there = FORK.Pipe()
        server = FORK.Process(target=serve_translations, args=(there,), daemon=True)
        server.start()
        try:
            kill_all(root, commands(root, here.recv()), options.kills, options.seed)
        finally:
            server.kill()
            server.join()
    print(f"All files are the same after {options.kills} kills ({time.monotonic() - began:.0f} s).")


def kill_all(
    root: Path, found: dict[str, tuple[Callable[[Path], list[str]], Path | None]], kills: int, seed: int
) -> None:
    """Run every command undisturbed, then kill and resume it."""
    log, rng = root / "log.txt", random.Random(seed)
    wanted: dict[str, dict[str, bytes]] = {}
    pauses: dict[str, float] = {}
    writes: dict[str, int] = {}
    for name, (command, base) in found.items():
        prepare(root / name, base)
        run_here(command(root / name))
        wanted[name] = content(root / name)
        again = root / f"{name}-again"
        prepare(again, base)
        seconds = finish(command(again), log)
        writes[name], pauses[name] = WRITES.value, seconds / (WRITES.value + 1)
        if different := difference(content(again), wanted[name]):
            sys.exit(f"Two undisturbed runs of {name} differ in {different}.")
        print(f"{name}: {len(wanted[name])} files, {writes[name]} writes in {seconds:.1f} s", flush=True)
    for number, name in enumerate(islice(cycle(found), kills), start=1):
        command, base = found[name]
        folder = root / f"killed-{number}"
        prepare(folder, base)
        moment = rng.randrange(writes[name]), pauses[name] * rng.random()
        killed = kill_after(start(command(folder), log), *moment)
        left = len(tree(folder)) if folder.exists() else 0
        finish(command(folder), log)
        # No file contains the name of the folder.
        if different := difference(content(folder), wanted[name]):
            kept = Path(tempfile.mkdtemp(prefix="kill-test-"))
            shutil.copytree(folder, kept / "killed")
            shutil.copytree(root / name, kept / "undisturbed")
            sys.exit(f"Kill {number}, {name} after {moment[0]} writes: {different} differ; see {kept}")
        state = f"killed after {moment[0]} writes with {left} files" if killed else "had ended"
        print(f"{number:3}  {name:10} {state}, resumed to the same bytes", flush=True)
        shutil.rmtree(folder)


def prepare(folder: Path, base: Path | None) -> None:
    """Create the folder that a command starts from."""
    if base is not None:
        shutil.copytree(base, folder)


if __name__ == "__main__":
    main()
