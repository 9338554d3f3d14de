"""Training: resuming, selection by validation, collapses, and the optimiser's step."""

from __future__ import annotations

import pytest
import torch
from calls import user_error

from babelguard import engine
from babelguard.config.sections import Training
from babelguard.method.data import TrainingData, gather
from babelguard.method.losses import Context, FirstTokens
from babelguard.method.objective import needs_other_languages, resolve_weights
from babelguard.method.passes import PromptPasses
from babelguard.method.schedule import Step
from babelguard.method.space import SafetySpace
from babelguard.method.trainer import train
from babelguard.models.probes import embed
from babelguard.prompt.hook import soft_prompt
from babelguard.prompt.slot import install, render, tokenise

LANGUAGES = ("en", "da", "ko")
ROWS = 10
TWINS = [[k, k + 5] for k in range(5)]


def test_gather_puts_every_constant_beside_its_row():
    base = torch.arange(3 * ROWS, dtype=torch.float32).reshape(3, ROWS, 1).repeat(1, 1, 2)
    labels = (torch.arange(ROWS) % 2).float()
    data = TrainingData([1], [], labels, 0, TWINS, 7, torch.stack([base + 100, base]), base + 200)
    step = Step(rows=[4, 1], languages=[2, 1], others=[[0, 2], [1, 0]])
    states = torch.arange(12, dtype=torch.float32).reshape(6, 2)
    last = states + 50
    batch = gather(data, step, torch.stack([last, states]), "english")
    assert batch.states.tolist() == states[:2].tolist()
    assert batch.other_states.tolist() == [states[2:4].tolist(), states[4:].tolist()]
    assert batch.start.states[:, 0].tolist() == [24, 11]
    assert batch.start.reference[:, 0].tolist() == [4, 1]  # the English rows
    assert batch.start.frozen_target[:, 0].tolist() == [(4 + 14) / 2, (1 + 21) / 2]
    assert batch.labels.tolist() == [0, 1]
    assert batch.language.tolist() == [2, 1]
    assert batch.last_states.tolist() == last[:2].tolist()
    assert batch.start.last_states[:, 0].tolist() == [124, 111]
    assert batch.plain_states[:, 0].tolist() == [224, 211]
    own = gather(data, step, states.unsqueeze(0))
    assert own.last_states.tolist() == own.states.tolist() == states[:2].tolist()
    assert own.start.reference.tolist() == own.start.states.tolist()


@pytest.fixture
def job(loaded):
    """All that `train` needs, on a tiny model: model, theta, placeholder ids, data, space, first tokens."""
    model, tokenizer = loaded("llama")
    carrier, slot = install(tokenizer, 4, model.get_input_embeddings().weight.shape[0])
    texts = [
        [f"{word} {code} {'x' * (row % 3)}" for row in range(ROWS)]
        for code, word in zip(LANGUAGES, ("bake", "bag", "굽"), strict=True)
    ]
    chats = [[tokenise(carrier, render(carrier, [{"role": "user", "content": t}])) for t in group] for group in texts]
    prefix_ids = engine.shared_prefix([chat for group in chats for chat in group])
    suffixes = [engine.split(group, prefix_ids) for group in chats]
    theta = embed(model, [20, 21, 22, 23])
    with torch.no_grad(), soft_prompt(model, theta, slot.token_ids):
        prefix = engine.run_prefix(model, prefix_ids)
        base = torch.stack([engine.last_states(model, prefix, group) for group in suffixes])
    data = TrainingData(prefix_ids, suffixes, (torch.arange(ROWS) % 2).float(), 0, TWINS, None, base.unsqueeze(0))
    rng = torch.Generator().manual_seed(0)
    components = torch.linalg.qr(torch.randn(64, 4, generator=rng))[0].T
    draw = lambda *shape: torch.randn(*shape, generator=rng)  # noqa: E731
    space = SafetySpace(base.mean((0, 1)), components, draw(4), draw(1)[0], draw(4), draw(1)[0], 1.0)
    first = FirstTokens(draw(5, 64) / 8, draw(3, 64) / 8)
    return model, theta, slot.token_ids, data, space, first


def run(job, folder, *, training=(), weights=(), **given):
    model, theta, ids, data, space, first = job
    return train(
        PromptPasses(model, ids),
        theta,
        data,
        Context(space, first),
        weights=resolve_weights(dict(weights)),
        training=Training(**({"steps": 14, "batch_size": 4, "learning_rate": 0.05} | dict(training))),
        folder=folder,
        **({"seed": 0, "step_size": 0.01, "alignment_languages": 2, "validate_every": 4} | given),
    )


class Killed(Exception):
    pass


def test_the_checkpoint_of_another_run_is_not_resumed(job, tmp_path):
    short = {"training": {"steps": 1}}
    run(job, tmp_path, **short, run="a")
    run(job, tmp_path, **short, run="a")
    assert "it belongs to another run" in user_error(lambda: run(job, tmp_path, **short, run="b"))


@pytest.mark.parametrize("weighting", ["mean", "worst", "errors"])
@pytest.mark.parametrize("killed_after", [3, 10, 13])
def test_a_killed_run_resumes_bit_for_bit(job, tmp_path, weighting, killed_after):
    chosen = {"weighting": weighting, "weights": {"behaviour": 0.5}}
    whole, whole_progress = run(job, tmp_path / "whole", **chosen)

    def kill(step, _):
        if step == killed_after:
            raise Killed

    with pytest.raises(Killed):
        run(job, tmp_path / "killed", **chosen, report=kill)
    resumed, progress = run(job, tmp_path / "killed", **chosen)
    assert torch.equal(resumed, whole)
    assert progress.history == whole_progress.history
    assert [entry["step"] for entry in progress.history] == list(range(1, 15))
    assert not torch.equal(whole, job[1])


def test_each_weighting_trains_another_prompt(job, tmp_path):
    mean, worst, errors = (run(job, tmp_path / name, weighting=name)[0] for name in ("mean", "worst", "errors"))
    assert not torch.equal(mean, worst)
    assert not torch.equal(mean, errors)
    assert not torch.equal(worst, errors)


def test_a_finished_run_is_not_trained_again(job, tmp_path):
    theta, _ = run(job, tmp_path, training={"steps": 3})
    steps = []
    again, progress = run(job, tmp_path, training={"steps": 3}, report=lambda step, _: steps.append(step))
    assert steps == []
    assert torch.equal(again, theta)
    assert progress.step == 3


def test_training_lowers_the_loss_and_leaves_the_model_alone(job, tmp_path):
    model = job[0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training = {"steps": 20, "batch_size": 10, "schedule": "turns"}
    _, progress = run(job, tmp_path, training=training, weights={"behaviour": 1.0})
    losses = [entry["total"] for entry in progress.history]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.get_input_embeddings()._forward_hooks


def test_the_report_and_the_history_agree(job, tmp_path):
    reported = []
    _, progress = run(job, tmp_path, training={"steps": 3}, report=lambda step, terms: reported.append((step, terms)))
    assert [{"step": step} | terms for step, terms in reported] == progress.history
    assert set(progress.history[0]) == {"step", "total", "refusal", "harmfulness", "residual", "alignment"}


def test_beta2_changes_the_trained_prompt(job, tmp_path):
    long, _ = run(job, tmp_path / "long")
    short, _ = run(job, tmp_path / "short", training={"beta2": 0.5})
    assert not torch.equal(long, short)


def test_other_languages_are_only_sampled_for_losses_that_compare_languages(job, tmp_path, monkeypatch):
    asked = []

    def spy(*given, **named):
        from babelguard.method.schedule import plan_step

        asked.append(named["other_languages"])
        return plan_step(*given, **named)

    monkeypatch.setattr("babelguard.method.trainer.plan_step", spy)
    for name, weights, expected in (
        ("live", {}, 2),
        ("frozen", {"alignment": 0.0, "frozen_alignment": 1e-3}, 0),
        ("none", {"alignment": 0.0}, 0),
    ):
        asked.clear()
        _, progress = run(job, tmp_path / name, training={"steps": 2}, weights=weights)
        assert asked == [expected, expected]
        assert needs_other_languages(resolve_weights(weights)) == bool(expected)
        assert ("alignment" in progress.history[0]) == bool(expected)


def scored(scores):
    """Return a validation function that returns these scores by step, and the list of prompts it is called with."""
    seen = {}

    def validate(theta, step):
        seen[step] = theta.clone()
        return scores[step]

    return validate, seen


def test_selection_keeps_the_best_measured_prompt(job, tmp_path):
    validate, seen = scored({0: 0.5, 4: 0.4, 8: 0.2, 12: 0.2, 14: 0.3})
    kept, progress = run(job, tmp_path, validate=validate)
    assert sorted(seen) == [0, 4, 8, 12, 14]
    assert (progress.best_step, progress.best_score) == (8, 0.2)
    assert torch.equal(kept, seen[8])
    assert torch.equal(seen[0], job[1])


def test_a_collapse_restores_the_best_prompt_and_halves_the_learning_rate(job, tmp_path):
    validate, seen = scored({0: 0.3, 4: 0.2, 8: 0.45, 12: 0.25, 14: 0.25})
    kept, progress = run(job, tmp_path / "whole", validate=validate)
    assert progress.halved == 1 and progress.optimised == 14 - 8
    assert torch.equal(kept, seen[4])
    # AdamW's first steps are about as long as the step size: after the collapse four of them start from step 4, half as long.
    assert (seen[12] - seen[4]).abs().max() <= 4.01 * 0.01 / 2
    assert (seen[8] - seen[4]).abs().max() > 4.01 * 0.01 / 2

    for killed_after in (8, 9, 11):

        def kill(step, _, killed_after=killed_after):
            if step == killed_after:
                raise Killed

        folder = tmp_path / str(killed_after)
        with pytest.raises(Killed):
            run(job, folder, validate=validate, report=kill)
        resumed, again = run(job, folder, validate=validate)
        assert torch.equal(resumed, kept) and vars(again) == vars(progress)


def test_being_a_little_worse_than_the_start_is_no_collapse(job, tmp_path):
    validate, _ = scored({0: 0.3, 4: 0.39, 8: 0.39, 12: 0.39, 14: 0.39})
    _, progress = run(job, tmp_path, validate=validate)
    assert progress.halved == 0 and progress.best_step == 0


def test_the_start_is_kept_if_training_only_raises_the_error(job, tmp_path):
    kept, progress = run(job, tmp_path, validate_every=7, validate=lambda _, step: step)
    assert (progress.best_step, progress.halved) == (0, 2)
    assert torch.equal(kept, job[1])


def test_a_run_killed_while_measuring_measures_again_and_ends_the_same(job, tmp_path):
    score = lambda theta, _: float(theta.norm())  # noqa: E731
    whole, expected = run(job, tmp_path / "whole", validate=score)

    def dies(theta, step):
        if step == 8:
            raise Killed
        return score(theta, step)

    with pytest.raises(Killed):
        run(job, tmp_path / "killed", validate=dies)
    resumed, progress = run(job, tmp_path / "killed", validate=score)
    assert torch.equal(resumed, whole)
    assert vars(progress) == vars(expected)


def test_long_gradients_are_clipped(job, tmp_path, monkeypatch):
    norms = []

    class Watched(torch.optim.AdamW):
        def step(self, *given):
            norms.append(float(self.param_groups[0]["params"][0].grad.norm()))
            return super().step(*given)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    run(job, tmp_path / "heavy", training={"steps": 4}, weights={"refusal": 1e3})
    assert norms == pytest.approx([1.0] * 4, rel=1e-3)
    norms.clear()
    run(job, tmp_path / "light", training={"steps": 4}, weights={"refusal": 1e-3, "harmfulness": 1e-3})
    assert max(norms) < 0.5  # short gradients keep their length


def test_a_prompt_without_gradients_does_not_decay(job, tmp_path):
    tiny = {name: 1e-30 for name in ("refusal", "harmfulness", "residual", "alignment")}
    kept, progress = run(job, tmp_path, weights=tiny)
    assert progress.step == 14
    assert torch.equal(kept, job[1])
