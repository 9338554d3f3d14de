"""Several processes: they give the same states, replies and prompts as one, and they end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import together
import torch
from calls import fail, succeed, tree, user_error

from babelguard import parallel
from babelguard.config import Settings
from babelguard.jobs.load_model import load_model, with_all_processes
from babelguard.models.devices import check_map, choose_device
from babelguard.prompt import SafetyPrompt

TESTS = Path(__file__).parent
# What a launcher tells each process.
LAUNCHED = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def torchrun(count, script, *arguments, **environment):
    """Run a script in several processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(count), "--master_port", "0"]
    given = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    command += ["--standalone", str(TESTS / script), *map(str, arguments)]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture
def environment(monkeypatch):
    """Return a function that sets the environment of a launched process."""

    def launch(world, **others):
        for name in LAUNCHED:
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"WORLD_SIZE": world} | others).items():
            monkeypatch.setenv(name, str(value))

    return launch


@pytest.fixture(scope="module")
def alone(folders, tmp_path_factory):
    """Return a function that computes the results of one process."""
    kept = {}

    def run(name, batch):
        if (name, batch) not in kept:
            kept[name, batch] = together.run(folders(name), "none", batch, tmp_path_factory.mktemp("alone"))
        return kept[name, batch]

    return run


@pytest.mark.parametrize(
    ("name", "count", "sharding", "batch"),
    [
        ("llama", 2, "none", 5),
        ("llama", 2, "fsdp", 5),
        ("gemma3", 2, "fsdp", 4),
        ("qwen3", 3, "fsdp", 2),
    ],
)
def test_several_processes_give_the_results_of_one(folders, alone, tmp_path, name, count, sharding, batch):
    ended = torchrun(count, "together.py", folders(name), sharding, batch, tmp_path)
    assert ended.returncode == 0, ended.stderr
    expected = alone(name, batch)
    for rank in range(count):
        found = torch.load(tmp_path / f"result-{rank}.pt", weights_only=False)
        ranks, processes, kinds = zip(*found["who"], strict=True)
        assert ranks == tuple(range(count)) and len(set(processes)) == count
        assert all(("DTensor" in kind) == (sharding == "fsdp") for kind in kinds)
        for defence in ("none", "soft"):
            torch.testing.assert_close(found[f"states/{defence}"], expected[f"states/{defence}"], rtol=1e-4, atol=1e-5)
            assert found[f"replies/{defence}"] == expected[f"replies/{defence}"]
        torch.testing.assert_close(found["theta"], expected["theta"], rtol=1e-4, atol=1e-5)
        assert found["best"] == expected["best"]
        for ours, theirs in zip(found["history"], expected["history"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_a_killed_run_of_two_processes_is_resumed_by_one(command, finished, judge_of_bytes, tmp_path):
    folder = tmp_path / "run"
    ended = torchrun(2, "launched.py", *command("llama", folder), FAIL="1/_backward_share/4", KILL="1")
    assert ended.returncode != 0
    assert "exitcode  : -9" in ended.stderr
    assert "2 processes" in ended.stdout
    assert not (folder / "metrics.json").exists() and (folder / "training").exists()
    assert ended.stdout.count("Measuring refusals") == 1
    succeed(*command("llama", folder))
    whole, _ = finished("llama")
    theta, expected = (SafetyPrompt.from_pretrained(run / "safety_prompt").theta for run in (folder, whole))
    torch.testing.assert_close(theta, expected, rtol=1e-4, atol=1e-5)
    assert (folder / "metrics.json").read_text() == (whole / "metrics.json").read_text()
    assert tree(folder).keys() == tree(whole).keys()


def launch_one_by_one(command, count, port, **environment):
    """Start the processes without torchrun, which hides exit codes, as srun does. Return what each of them wrote."""
    given = os.environ | {"OMP_NUM_THREADS": "1", "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"} | environment
    started = [
        subprocess.Popen(
            [sys.executable, str(TESTS / "launched.py"), *map(str, command)],
            env=given | {"RANK": str(k), "LOCAL_RANK": str(k), "MASTER_PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(count)
    ]
    return [(process, *process.communicate(timeout=900)) for process in started]


@pytest.mark.parametrize(
    ("sharding", "environment", "codes", "sentence"),
    [
        ("none", {"FAIL": "1/time_model/1"}, [2, 2], "This process fails."),
        (
            "none",
            {"FAIL": "1/time_model/1", "KILL": "1"},
            [2, -signal.SIGKILL],
            "Another process of this run has ended",
        ),
        ("fsdp", {"FAIL": "1/time_model/1"}, [2, 2], "This process fails."),
        ("none", {"FAIL": "0/time_model/1"}, [2, 2], "This process fails."),
    ],
)
def test_all_processes_end_with_the_first(command, free_port, tmp_path, sharding, environment, codes, sentence):
    (first, shown, said), (second, nothing, told) = launch_one_by_one(
        command("llama", tmp_path / "run", "--sharding", sharding), 2, free_port, **environment
    )
    assert [first.returncode, second.returncode] == codes, said + told
    assert nothing == ""
    assert "Loading" in shown
    assert "Traceback" not in said + told
    if sharding == "none":
        assert told == "" and said.startswith("Error: ") and said.count("\n") == 1 and sentence in said
    else:  # the first process cannot know why the second one has ended
        assert told == f"Error: {sentence}\n"
        assert "has ended" in said
    assert not (tmp_path / "run" / ".babelguard.lock").exists()


@pytest.fixture
def free_port():
    """Return a port that nobody uses."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_model_that_cannot_be_loaded_is_reported_once(command, free_port, tmp_path):
    wrong = [tmp_path / "nothing" if k == 1 else part for k, part in enumerate(command("llama", tmp_path / "run"))]
    (first, _, said), (second, nothing, told) = launch_one_by_one(wrong, 2, free_port)
    assert (first.returncode, second.returncode) == (2, 2)
    assert (nothing, told) == ("", "")
    assert said.startswith("Error: ") and said.count("\n") == 1 and "nothing" in said


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_shares_cover_everything_once(monkeypatch, world, count):
    monkeypatch.setattr(parallel.group, "world", lambda: world)
    shares = [list(range(count))[parallel.share(count, of)] for of in range(world)]
    assert [item for one in shares for item in one] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_only_calls_the_function():
    assert parallel.world() == 1 and parallel.rank() == 0
    assert parallel.lead(lambda model, number: (model, number), "model", 3) == [("model", 3)]
    assert parallel.share(7) == slice(0, 7)


def test_wrong_environments_of_launchers(environment):
    settings = Settings(model="demo", sharding="fsdp")
    environment(1)
    assert "there is one" in user_error(lambda: with_all_processes(settings, None))
    environment(2)
    assert "RANK is not set" in user_error(lambda: with_all_processes(settings, None))
    environment("two")
    assert "WORLD_SIZE is 'two'" in user_error(lambda: with_all_processes(settings, None))


def test_each_process_has_a_gpu_of_its_own(environment, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    environment(4, LOCAL_RANK=1, LOCAL_WORLD_SIZE=2)
    from babelguard.models.devices import _own_gpu

    assert _own_gpu("cuda") == "cuda:1" and chosen == [1]
    assert "each of several processes needs its own" in user_error(lambda: choose_device("cuda:1"))
    assert "there are several processes" in user_error(lambda: choose_device("map"))
    environment(4, LOCAL_RANK=2, LOCAL_WORLD_SIZE=4)
    assert "has 2 GPUs, but the launcher started 4 processes" in user_error(lambda: choose_device("auto"))


def test_other_commands_refuse_several_processes(environment, tmp_path):
    environment(2, RANK=0)
    assert "Only defend can use several processes" in fail("evaluate", tmp_path, "--prompts", tmp_path / "a.csv")


def test_a_mapped_model_gives_the_same_replies(folders, alone, monkeypatch):
    pytest.importorskip("accelerate")
    from accelerate import dispatch_model

    chat = load_model(Settings(model=str(folders("llama")), device="map", dtype="float32"))
    # With a single device, the hooks that move the input of each layer are only added on demand.
    parts = [
        "model.embed_tokens",
        *(f"model.layers.{k}" for k in range(3)),
        "model.norm",
        "model.rotary_emb",
        "lm_head",
    ]
    model = dispatch_model(chat.model, dict.fromkeys(parts, "cpu"), main_device="cpu", force_hooks=True)
    assert model.model.layers[1]._hf_hook
    from babelguard.defences import NoDefence
    from babelguard.targets import LocalModel

    found = LocalModel(chat).states_at_layers(NoDefence(), together.QUESTIONS, (1,))
    torch.testing.assert_close(found, alone("llama", 5)["states/none"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("places", [{"a": 0, "b": "cpu"}, {"a": "cpu", "b": "disk"}])
def test_a_model_that_does_not_fit_into_the_devices_is_refused(places):
    model = torch.nn.Linear(2, 2)
    model.hf_device_map = {"a": "cpu"}
    check_map(model)
    model.hf_device_map = places
    assert "does not fit into the memory of all devices" in user_error(lambda: check_map(model))
