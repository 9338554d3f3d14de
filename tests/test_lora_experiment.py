"""The experiment with a LoRA adapter: the passes of a step, training like `mcd`, resuming, and the row in the tables."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

import planted
import pytest
import torch
from calls import user_error

from babelguard import engine
from babelguard.config import Settings
from babelguard.corpus import load_corpus
from babelguard.defences import NoDefence
from babelguard.jobs import learn as learning
from babelguard.jobs.defend import Defend
from babelguard.jobs.prepare import prepare
from babelguard.method import trainer
from babelguard.method.checkpoint import Progress, load_checkpoint
from babelguard.models.load import load_chat_model
from babelguard.screen import Screen, Silent
from babelguard.targets import LocalModel

FOLDER = Path(__file__).parents[1] / "experiments"
QUESTIONS = ["How do I bake bread?", "적은 효모로 빵을 어떻게 굽나요?", "Hvordan?"]
NAMES = ("planned", "record", "compact", "heads", "aims", "results", "adapter", "lora")


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(FOLDER))
    yield dict(zip(NAMES, map(importlib.import_module, NAMES), strict=True))
    sys.path.remove(str(FOLDER))
    for name in NAMES:
        del sys.modules[name]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The planted model and its corpus."""
    root = tmp_path_factory.mktemp("planted")
    return planted.save_planted(root / "planted-chat"), planted.write_corpus(root / "corpus.csv")


def settings(files, **training):
    model, corpus = files
    return Settings(
        model=str(model),
        preset="mcd",
        seed=3,
        device="cpu",
        dtype="float32",
        data={"languages": planted.LANGUAGES, "corpus": corpus},
        training={"steps": 24, "batch_size": 8, "prompt_length": 6} | training,
        objective={"anchor_tokens": 4},
        selection={"every": 24, "rows": 4, "judge": "patterns"},
        evaluation={"languages": planted.LANGUAGES, "reply_tokens": 4, "written": "short", "judge": "patterns"}
        | {"other_judges": ()},
    )


@pytest.fixture
def train(modules, files):
    """Return a function that trains an adapter on the planted model, and returns what is trained and the base weights."""

    def run(folder, rate=0.02, **training):
        prepared = prepare(settings(files, **training), folder, Silent())
        before = {name: value.clone() for name, value in prepared.chat.model.state_dict().items()}
        adapter = modules["adapter"].Adapter(prepared.chat.model, seed=3)
        trained = modules["lora"].train_adapter(prepared, adapter, rate, folder, [], Silent())
        return adapter, trained, before

    return run


def model_of(folders, name, dtype="float32"):
    return LocalModel(load_chat_model(str(folders(name)), device="cpu", dtype=dtype))


@pytest.mark.parametrize(
    ("name", "dtype"), [("llama", "float32"), ("qwen2", "bfloat16"), ("qwen3", "float32"), ("gemma3", "float32")]
)
def test_the_start_adapter_changes_nothing(modules, folders, name, dtype):
    module, model = modules["adapter"], model_of(folders, name, dtype)
    chats = model.render(NoDefence(), QUESTIONS)
    plain = model.states(NoDefence(), QUESTIONS)
    adapter = module.Adapter(model.chat.model, seed=0)
    assert all(layer.disable_adapters for layer in adapter.layers)
    start = module.LoraDefence(adapter, adapter.start, 0)
    assert model.render(start, QUESTIONS) == chats
    assert torch.equal(model.states(start, QUESTIONS), plain)
    assert adapter.start.abs().sum() > 0  # only one of its two matrices is 0
    other = module.LoraDefence(adapter, torch.full_like(adapter.start, 0.1), 0)
    assert not torch.allclose(model.states(other, QUESTIONS), plain, rtol=0.1)
    # Without the defence, the model is as before, and gives the same replies.
    assert torch.equal(model.states(NoDefence(), QUESTIONS), plain)
    assert len({start.digest, other.digest, NoDefence().digest}) == 3


def test_attention_and_mlp_layers_have_an_adapter_of_rank_1_in_float32(modules, folders):
    model = model_of(folders, "qwen3", "bfloat16").chat.model
    linear = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    adapter = modules["adapter"].Adapter(model, seed=0)
    assert len(adapter.layers) == 3 * 7 == len(linear) - 1  # the head is linear too
    assert {weight.dtype for weight in adapter.weights} == {torch.float32}
    assert {min(weight.shape) for weight in adapter.weights} == {1}
    assert type(model.get_output_embeddings()) is torch.nn.Linear
    again = model_of(folders, "qwen3", "bfloat16").chat.model
    assert torch.equal(modules["adapter"].Adapter(again, seed=0).start, adapter.start)


def test_an_adapter_is_refused_on_another_model(modules, folders):
    module, other = modules["adapter"], model_of(folders, "llama")
    adapter = module.Adapter(model_of(folders, "llama").chat.model, seed=0)
    with pytest.raises(ValueError, match="belongs to another model"):
        other.states(module.LoraDefence(adapter, adapter.start, 0), QUESTIONS)


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3"])
def test_the_gradient_is_that_of_whole_chats(modules, folders, name):
    module, model = modules["adapter"], model_of(folders, name)
    adapter = module.Adapter(model.chat.model, seed=0)
    generator = torch.Generator().manual_seed(0)
    theta = adapter.start + 0.05 * torch.randn(len(adapter.start), generator=generator)
    chats, plain = model.render(NoDefence(), QUESTIONS), model.states(NoDefence(), QUESTIONS)
    passes = module.AdapterPasses(adapter)
    states = passes.forward(theta, chats.prefix_ids, chats.suffixes, None)
    direction = torch.randn(states.shape, generator=generator)
    found = passes.backward(direction)
    assert torch.equal(model.states(NoDefence(), QUESTIONS), plain)  # the adapter is not active after a step
    with adapter.active(theta):
        ids = [torch.tensor([[*chats.prefix_ids, *suffix]]) for suffix in chats.suffixes]
        whole = torch.stack([model.chat.model.model(one).last_hidden_state[0, -1] for one in ids])
        (whole * direction[0]).sum().backward()
        expected = torch.cat([weight.grad.flatten() for weight in adapter.weights])
    torch.testing.assert_close(states[0].detach(), whole.detach(), rtol=1e-4, atol=1e-4)
    assert (found - expected).norm() < 1e-4 * expected.norm()
    assert expected.norm() > 0


def test_a_step_changes_the_adapter_only(train, tmp_path):
    adapter, trained, before = train(tmp_path / "run", steps=1)
    last = load_checkpoint(tmp_path / "run" / "training")[0]["theta"]
    assert last.shape == adapter.start.shape
    assert not torch.equal(last, adapter.start)
    after = {name.replace(".base_layer.", "."): value for name, value in adapter.model.state_dict().items()}
    kept = {name: value for name, value in after.items() if "lora_" not in name}
    assert kept.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in kept.items())
    assert trained.defence.theta.shape == adapter.start.shape


def test_training_lowers_the_loss_and_the_validation_error(train, tmp_path):
    adapter, trained, _ = train(tmp_path / "run")
    _, progress = load_checkpoint(tmp_path / "run" / "training")
    losses = [entry["total"] for entry in progress.history]
    assert {"behaviour", "keep"} < progress.history[0].keys()
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    assert trained.error < 0.5 * progress.start_score
    assert trained.kept_step == 24 and not torch.equal(trained.defence.theta, adapter.start)


class Killed(Exception):
    pass


@pytest.mark.parametrize("killed_at", [2, 8])
def test_a_killed_training_resumes_to_the_same_weights(train, tmp_path, monkeypatch, killed_at):
    _, whole, _ = train(tmp_path / "whole", steps=11)
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 5)
    asked, plan_step = [], trainer.plan_step

    def dies(step, **named):
        if step == killed_at:
            raise Killed
        return plan_step(step, **named)

    def spy(step, **named):
        asked.append(step)
        return plan_step(step, **named)

    monkeypatch.setattr(trainer, "plan_step", dies)
    with pytest.raises(Killed):
        train(tmp_path / "killed", steps=11)
    monkeypatch.setattr(trainer, "plan_step", spy)
    _, resumed, _ = train(tmp_path / "killed", steps=11)
    assert asked == list(range(killed_at // 5 * 5, 11))  # the steps since the last checkpoint are done again
    assert torch.equal(resumed.defence.theta, whole.defence.theta)
    ends = [load_checkpoint(tmp_path / name / "training") for name in ("whole", "killed")]
    assert all(torch.equal(ends[1][0][name], value) for name, value in ends[0][0].items())
    assert ends[0][1] == ends[1][1]


def test_another_learning_rate_is_another_run(train, tmp_path):
    train(tmp_path, steps=1)
    sentence = user_error(lambda: train(tmp_path, rate=0.03, steps=1))
    assert "adapter was 'rank 1, alpha 2, learning rate 0.02', now 'rank 1, alpha 2, learning rate 0.03'" in sentence


def test_everything_but_the_prompt_and_the_learning_rate_is_that_of_mcd(train, files, tmp_path, monkeypatch):
    seen = []

    def fake_train(passes, theta, data, context, **named):
        seen.append(named | {"passes": passes, "data": data, "first": context.first_tokens, "context": context})
        seen[-1]["states"] = passes.forward(theta, data.prefix_ids, [data.suffixes[0][0]], None)
        passes.backward(torch.ones_like(seen[-1]["states"]))
        return theta, Progress(step=1, best_step=0)

    monkeypatch.setattr(learning, "train", fake_train)
    Defend(settings(files), tmp_path / "mcd", Silent()).run()
    train(tmp_path / "lora", rate=0.02)
    mcd, lora = seen
    assert lora["step_size"] == 0.02
    for name in ("weights", "training", "seed", "validate_every", "weighting", "base_logits", "alignment_languages"):
        assert lora[name] == mcd[name], name
    for name in ("labels", "plain_states"):
        assert torch.equal(getattr(lora["data"], name), getattr(mcd["data"], name)), name
    assert (lora["data"].groups, lora["data"].english) == (mcd["data"].groups, mcd["data"].english)
    assert lora["context"].harmless_weight == mcd["context"].harmless_weight
    for name in ("answering", "refusing", "answers_in", "refuses_in", "neutral_in"):
        assert torch.equal(getattr(lora["first"], name), getattr(mcd["first"], name)), name
    # The chats are those of the model without a prompt.
    assert not set(mcd["passes"].token_ids) & set(lora["data"].prefix_ids)
    whole = LocalModel(load_chat_model(str(files[0]), device="cpu", dtype="float32"))
    chats = whole.render(NoDefence(), planted_questions(files))
    assert lora["data"].prefix_ids == chats.prefix_ids
    assert [suffix for group in lora["data"].suffixes for suffix in group] == chats.suffixes


def planted_questions(files):
    rows = load_corpus(files[1]).split("train")
    return [text for code in planted.LANGUAGES for text in rows.texts(code)]


def test_training_computes_no_vocabulary_logits(train, tmp_path, monkeypatch):
    inside = []

    class Watched(trainer.torch.optim.AdamW):
        def step(self, *given):
            inside.append("step")
            return super().step(*given)

    def head(module, given, output):
        inside.append(output.shape[:-1])

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    original = engine.states_at_layers

    def watched(model, *given):
        handle = model.get_output_embeddings().register_forward_hook(head)
        try:
            return original(model, *given)
        finally:
            handle.remove()

    monkeypatch.setattr(engine, "states_at_layers", watched)
    train(tmp_path / "run", steps=2)
    assert inside == ["step", "step"]


@pytest.fixture
def small(modules, folders, tmp_path, monkeypatch):
    """The experiment on a tiny model with the built-in corpus: two languages, two steps, one row."""
    folder = folders("qwen2")
    monkeypatch.chdir(folder.parent)
    options = {
        "model": folder.name,  # a record has the name of the model, and no path
        "preset": "mcd",
        "languages": ("en", "da"),
        "test_languages": ("en", "da"),
        "judge": "patterns",
        "selection.judge": "patterns",
        "evaluation.other_judges": (),
        "reply_tokens": 4,
        "objective.anchor_rows": 4,
        "objective.anchor_tokens": 4,
        "selection.rows": 1,
        "selection.reply_tokens": 4,
        "steps": 2,
        "selection.every": 2,
    }
    planned = modules["planned"].Planned("mcd", 0, options)
    monkeypatch.setattr(modules["results"], "PLAN", [planned])
    monkeypatch.setattr(modules["results"], "LORA", planned._replace(label="lora"))
    monkeypatch.setattr(modules["lora"], "LORA", planned._replace(label="lora"))
    return planned


def asked(folder, **changes):
    given = {"output": folder / "runs", "records": folder / "kept", "reuse": [], "only": None, "dtype": "float32"}
    given |= {"model": "demo", "limit": 2, "no_hard": True, "dry_run": False, "learning_rate": "1e-2", "steps": None}
    return argparse.Namespace(**(given | changes))


def test_the_record_is_a_row_of_the_tables(modules, small, tmp_path, judge_of_bytes, monkeypatch, capsys):
    lora, results, args = modules["lora"], modules["results"], asked(tmp_path, learning_rate="1e-2,2e-2,3e-2")
    errors = iter([0.5, 0.4, 0.5, 0.2, 0.5, 0.3])  # at the start and the end of each run
    monkeypatch.setattr(learning, "selection_error", lambda replies: next(errors))
    lora.do_lora(lora.planned_lora(None), args, Silent())
    record = json.loads((tmp_path / "kept" / "lora-seed0.json").read_text(encoding="utf-8"))
    assert list(record["verdicts"]) == ["lora"]
    assert record["config"]["run"]["defence"] == "lora"
    assert {kind: len(row) for kind, row in record["verdicts"]["lora"]["da"].items()} == {"harmful": 2, "harmless": 2}
    # The adapter with the lower validation error was tested, and no other.
    for name in ("lr0.01", "lr0.02", "lr0.03"):
        folder = tmp_path / "runs" / f"lora-seed0-{name}"
        log = [json.loads(line) for line in (folder / "generations.jsonl").read_text(encoding="utf-8").splitlines()]
        tested = [row for row in log if row["split"] == "test"]
        assert len(tested) == (8 if name == "lr0.02" else 0)
        assert {(row["defence"], row["seed"]) for row in tested} <= {("lora", 0)}
    assert record["config"]["run"]["adapter"] == "rank 1, alpha 2, learning rate 0.02"
    assert record["kept_step"] == 2
    # A finished run is not repeated, on any machine.
    (tmp_path / "runs").rename(tmp_path / "gone")
    lora.do_lora(lora.planned_lora(None), args, Screen())
    assert "lora-seed0 is done (rank 1, alpha 2, learning rate 0.02)" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "runs").exists()

    verdicts = {name: record["verdicts"]["lora"] for name in ("none", "written", "mcd")}
    run = {name: value for name, value in record["config"]["run"].items() if name not in ("defence", "adapter")}
    mcd = record | {"config": record["config"] | {"run": run}, "verdicts": verdicts}
    (tmp_path / "kept" / "mcd-seed0.json").write_text(json.dumps(mcd), encoding="utf-8")
    given = ["--output", tmp_path / "tables", "--records", tmp_path / "kept", "--limit", 2, "--no-hard"]
    monkeypatch.setattr(sys, "argv", ["results.py", *map(str, given), "--dtype", "float32"])
    results.main()
    assert "lora-seed0" in capsys.readouterr().out
    header = (tmp_path / "tables" / "compact.md").read_text(encoding="utf-8").splitlines()[0]
    assert [cell.strip() for cell in header.strip("| ").split(" | ")] == ["none", "written", "mcd", "lora"]
    metrics = json.loads((tmp_path / "tables" / "metrics.json").read_text(encoding="utf-8"))
    assert {(one["a"], one["b"]) for one in metrics["differences"]} >= {("mcd", "lora"), ("lora", "written")}
    rows = {(row["defence"], row["language"]): row for row in metrics["rows"]}
    assert rows["lora", "da"]["attack_success"] == rows["mcd", "da"]["attack_success"]
    # Without the record, the tables are those of the other runs.
    (tmp_path / "kept" / "lora-seed0.json").unlink()
    results.main()
    assert "lora" not in (tmp_path / "tables" / "compact.md").read_text(encoding="utf-8")


def test_a_dry_run_writes_nothing(modules, small, tmp_path, judge_of_bytes, capsys):
    lora = modules["lora"]
    lora.do_lora(lora.planned_lora(160), asked(tmp_path, dry_run=True, learning_rate="1e-3,5e-4"), Screen())
    shown = capsys.readouterr().out
    assert "lora-seed0-lr0.001" in shown and "lora-seed0-lr0.0005" in shown
    assert "160 steps of 16 rows, then 8 test replies" in shown
    assert "21 linear layers" in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "steps", "sentence"),
    [
        ({"learning_rate": "fast"}, None, "The learning rate 'fast' is not a positive number"),
        ({"learning_rate": "1e-3,-1"}, None, "The learning rate '-1' is not a positive number"),
        ({"learning_rate": "nan"}, None, "The learning rate 'nan' is not a positive number"),
        ({"only": "lora-seed1"}, None, "There is no run 'lora-seed1' (--only); available: lora-seed0-lr0.01."),
        ({}, 0, "The number of steps is 0 (--steps); give at least 1."),
    ],
)
def test_wrong_options_are_one_sentence(modules, small, tmp_path, changes, steps, sentence):
    lora = modules["lora"]
    with pytest.raises(modules["planned"].UserError) as caught:
        lora.do_lora(lora.planned_lora(steps), asked(tmp_path, **changes), Silent())
    assert str(caught.value).startswith(sentence)
    assert list(tmp_path.iterdir()) == []


def test_the_settings_are_those_of_mcd(modules):
    results, lora = modules["results"], modules["lora"]
    args = argparse.Namespace(model="demo", dtype="bfloat16", limit=16, no_hard=True)
    assert results.LORA.name == "lora-seed0"
    assert lora.planned_lora(None).settings(args) == results.run_of("mcd", 0).settings(args)
    short = lora.planned_lora(2).settings(args)
    assert (short.training.steps, short.selection.every) == (2, 2)
