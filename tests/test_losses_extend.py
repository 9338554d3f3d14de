"""A new loss is one `Loss` in `LOSSES`. Everything else follows from it: weights, validation, training and display."""

from __future__ import annotations

import json

import planted
import pytest
import torch

from babelguard.config import Settings
from babelguard.errors import UserError
from babelguard.jobs import learn
from babelguard.jobs.defend import Defend
from babelguard.method import losses, objective
from babelguard.method.checkpoint import load_checkpoint
from babelguard.method.losses import Loss
from babelguard.screen import Silent


def distance(batch, context):
    return (batch.states - batch.start.states).pow(2).sum(-1) + 1.0


@pytest.fixture
def extended(monkeypatch):
    """Add a loss in the same way as its file and its import would."""
    more = (*losses.LOSSES, Loss("distance", "distance moved", 0.0, distance))
    monkeypatch.setattr(losses, "LOSSES", more)
    monkeypatch.setattr(objective, "LOSSES", more)
    monkeypatch.setattr(learn, "LOSS_LABELS", learn.LOSS_LABELS | {"distance": "distance moved"})


def settings(root, **weights):
    return Settings(
        model=str(planted.save_planted(root / "planted-chat")),
        preset="mcd-mixture",
        device="cpu",
        dtype="float32",
        data={"languages": planted.LANGUAGES, "corpus": planted.write_corpus(root / "corpus.csv")},
        training={"steps": 3, "batch_size": 8, "prompt_length": 4},
        objective={"anchor_tokens": 4, "weights": weights},
        selection={"judge": "patterns"},
        evaluation={
            "languages": planted.LANGUAGES,
            "rows": 2,
            "reply_tokens": 4,
            "written": "short",
            "judge": "patterns",
            "other_judges": (),
        },
    )


def test_a_new_loss_is_weighted_and_in_the_history(extended, tmp_path):
    Defend(settings(tmp_path, distance=0.5), tmp_path / "run", Silent()).run()
    _, progress = load_checkpoint(tmp_path / "run" / "training")
    assert [set(entry) for entry in progress.history] == 3 * [
        {"step", "total", "refusal", "harmfulness", "residual", "distance"}
    ]
    # Before the first step nothing has moved, so the loss is 1 and its weighted value 0.5.
    first, *_, last = progress.history
    assert first["distance"] == pytest.approx(0.5, abs=1e-4)
    assert last["distance"] > 0.5
    assert first["total"] == pytest.approx(sum(v for k, v in first.items() if k not in ("step", "total")))
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["objective"]["weights"]["distance"] == 0.5


def test_a_new_loss_changes_what_is_trained(extended, tmp_path):
    without = Defend(settings(tmp_path), tmp_path / "without", Silent()).run()
    with_it = Defend(settings(tmp_path, distance=50.0), tmp_path / "with", Silent()).run()
    assert not torch.equal(without.theta, with_it.theta)


def test_a_new_loss_with_weight_0_is_left_out(extended, tmp_path):
    Defend(settings(tmp_path), tmp_path / "run", Silent()).run()
    _, progress = load_checkpoint(tmp_path / "run" / "training")
    assert "distance" not in progress.history[0]
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["objective"]["weights"]["distance"] == 0.0


def test_the_names_of_the_weights_are_checked(extended, tmp_path):
    with pytest.raises(UserError, match=r"There is no loss 'distnace'.*keep, distance\."):
        Defend(settings(tmp_path, distnace=1.0), tmp_path / "run", Silent())
    assert objective.resolve_weights({})["distance"] == 0.0


def test_without_the_new_loss_its_name_is_unknown(tmp_path):
    with pytest.raises(UserError, match=r"There is no loss 'distance'"):
        Defend(settings(tmp_path, distance=1.0), tmp_path / "run", Silent())
