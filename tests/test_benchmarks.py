"""The benchmarks run on a tiny model with random weights, and compare implementations with equal results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def run(script, *more):
    """Run a benchmark on one thread, and return its numbers."""
    arguments = ["--random", "tiny", "--dtype", "float32", "--repeats", "1", "--json", *more]
    given = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(FOLDER / script), *map(str, arguments)]
    ended = subprocess.run(command, env=given, capture_output=True, text=True, timeout=500, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_both_training_steps_give_the_same_gradient(tmp_path):
    found = run("train_step.py", "--profile", tmp_path / "table.txt")
    assert found["gradient_relative_error"] < 1e-4
    assert found["loss_relative_error"] < 1e-4
    assert (found["prefix_tokens"], len(found["chat_tokens"])) == (8 + 112 + 12, 16)
    assert found["peak_bytes_ours"] > 0 and found["share_of_matmul_rate"] > 0
    assert "aten::" in (tmp_path / "table.txt").read_text()


def test_both_ways_to_generate_give_the_same_replies():
    found = run("generate.py", "--rows", 6)
    assert found["same_replies"] == 1
    assert found["mean_reply_tokens"] == pytest.approx(24)
