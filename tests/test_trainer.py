from __future__ import annotations

import errno
from collections import Counter

import pytest
import torch

from babelguard import engine
from babelguard.config import Settings
from babelguard.errors import UserError
from babelguard.hook import embed, soft_prompt
from babelguard.objective import FirstTokens
from babelguard.slot import install, render, tokenise
from babelguard.space import SafetySpace
from babelguard.trainer import (
    Progress,
    Step,
    TrainingData,
    gather,
    load_checkpoint,
    plan_step,
    save_checkpoint,
    step_factor,
    train,
)

LANGUAGES = ("en", "da", "ko")
ROWS = 10
TWINS = [[k, k + 5] for k in range(5)]


def settings(**changes):
    given = {"steps": 14, "train_batch": 4, "learning_rate": 0.05, "select": "last", "alignment_languages": 2}
    return Settings(model="tiny", languages=LANGUAGES, **(given | changes))


def plans(steps, **changes):
    chosen = settings(steps=steps, **changes)
    return [plan_step(k, settings=chosen, groups=TWINS, languages=3, english=0) for k in range(steps)]


def test_plan_is_a_function_of_step_and_seed():
    assert plans(9) == plans(9)
    # Whatever came before: a step is the same when a resumed run begins with it.
    assert plan_step(7, settings=settings(), groups=TWINS, languages=3, english=0) == plans(9)[7]
    assert [step.rows for step in plans(9, seed=1)] != [step.rows for step in plans(9)]


def test_an_epoch_repeats_no_row_and_epochs_differ():
    steps = plans(6)
    epochs = [steps[k].rows + steps[k + 1].rows for k in (0, 2, 4)]
    assert all(len(set(rows)) == 8 for rows in epochs)
    assert len({tuple(rows) for rows in epochs}) == 3
    # A batch larger than the corpus takes every row.
    assert sorted(plans(1, train_batch=64)[0].rows) == list(range(ROWS))


@pytest.mark.parametrize(
    ("schedule", "centres"),
    [
        ("english", [{0}] * 12),
        ("sequential", [{0}] * 4 + [{1}] * 4 + [{2}] * 4),
        ("rotate", [{0}, {0}, {1}, {1}, {2}, {2}] * 2),
        ("turns", [{0}, {1}, {2}] * 4),
        ("shuffled", [{0, 1, 2}] * 12),
    ],
)
def test_schedules_choose_the_centre_language(schedule, centres):
    assert [set(step.languages) for step in plans(12, schedule=schedule)] == centres


def test_twins_stand_together_in_one_language():
    for step in plans(30, schedule="shuffled", batches="twins"):
        first, second = step.rows[::2], step.rows[1::2]
        assert [b - a for a, b in zip(first, second, strict=True)] == [5, 5]
        assert step.languages[::2] == step.languages[1::2]
        assert step.languages[0] != step.languages[2]
    # An epoch still repeats no row, and a lone row may stand among twins.
    epoch = [row for step in plans(2, batches="twins") for row in step.rows]
    assert len(set(epoch)) == 8
    lone = plan_step(0, settings=settings(batches="twins"), groups=[[0, 1], [2], [3, 4]], languages=3, english=0)
    assert len(set(lone.rows)) == 4


def test_english_is_found_wherever_it_stands():
    step = plan_step(0, settings=settings(schedule="english"), groups=TWINS, languages=3, english=2)
    assert step.languages == [2, 2, 2, 2]


def test_shuffled_languages_come_equally_often():
    counts = Counter(language for step in plans(60, schedule="shuffled", train_batch=3) for language in step.languages)
    assert counts == {0: 60, 1: 60, 2: 60}


def test_other_languages_are_others_and_only_for_the_live_loss():
    for step in plans(6):
        assert len(step.others) == 2
        for place, centre in enumerate(step.languages):
            assert {centre, *(group[place] for group in step.others)} == {0, 1, 2}
    assert len(plans(1, alignment_languages=1)[0].others) == 1
    assert len(plans(1, alignment_languages=7)[0].others) == 2
    assert plans(1, alignment="frozen")[0].others == []
    assert plans(1, alignment_weight=0.0)[0].others == []


def test_gather_puts_every_constant_beside_its_row():
    base = torch.arange(3 * ROWS, dtype=torch.float32).reshape(3, ROWS, 1).repeat(1, 1, 2)
    labels = (torch.arange(ROWS) % 2).float()
    data = TrainingData([1], [], base, labels, 0, TWINS)
    step = Step(rows=[4, 1], languages=[2, 1], others=[[0, 2], [1, 0]])
    states = torch.arange(12, dtype=torch.float32).reshape(6, 2)
    batch = gather(data, step, states, settings(base_logits="english"))
    assert batch.states.tolist() == states[:2].tolist()
    assert batch.other_states.tolist() == [states[2:4].tolist(), states[4:].tolist()]
    assert batch.base_states[:, 0].tolist() == [24, 11]
    assert batch.reference_states[:, 0].tolist() == [4, 1]  # the English rows
    assert batch.frozen_target[:, 0].tolist() == [(4 + 14) / 2, (1 + 21) / 2]
    assert batch.labels.tolist() == [0, 1]
    own = gather(data, step, states, settings())
    assert own.reference_states.tolist() == own.base_states.tolist()


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
    data = TrainingData(prefix_ids, suffixes, base, (torch.arange(ROWS) % 2).float(), 0, TWINS)
    rng = torch.Generator().manual_seed(0)
    components = torch.linalg.qr(torch.randn(64, 4, generator=rng))[0].T
    draw = lambda *shape: torch.randn(*shape, generator=rng)  # noqa: E731
    space = SafetySpace(base.mean((0, 1)), components, draw(4), draw(1)[0], draw(4), draw(1)[0], 1.0)
    first = FirstTokens(draw(5, 64) / 8, draw(3, 64) / 8)
    return model, theta, slot.token_ids, data, space, first


def run(job, chosen, folder, **given):
    model, theta, ids, data, space, first = job
    return train(model, theta, ids, data, space, first, chosen, step_size=0.01, folder=folder, **given)


class Killed(Exception):
    pass


@pytest.mark.parametrize("weighting", ["mean", "worst"])
@pytest.mark.parametrize("killed_after", [3, 10, 13])
def test_a_killed_run_resumes_bit_for_bit(job, tmp_path, weighting, killed_after):
    chosen = settings(language_weighting=weighting, behaviour_weight=0.5)
    whole, whole_progress = run(job, chosen, tmp_path / "whole")

    def kill(step, _):
        if step == killed_after:
            raise Killed

    with pytest.raises(Killed):
        run(job, chosen, tmp_path / "killed", report=kill)
    resumed, progress = run(job, chosen, tmp_path / "killed")
    assert torch.equal(resumed, whole)
    assert progress.history == whole_progress.history
    assert [entry["step"] for entry in progress.history] == list(range(1, 15))
    assert not torch.equal(whole, job[1])


def test_a_finished_run_is_not_trained_again(job, tmp_path):
    chosen = settings(steps=3)
    theta, _ = run(job, chosen, tmp_path)
    steps = []
    again, progress = run(job, chosen, tmp_path, report=lambda step, _: steps.append(step))
    assert steps == []
    assert torch.equal(again, theta)
    assert progress.step == 3


def test_training_lowers_the_loss_and_leaves_the_model_alone(job, tmp_path):
    model = job[0]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _, progress = run(job, settings(steps=20, train_batch=10, schedule="turns", behaviour_weight=1.0), tmp_path)
    losses = [entry["total"] for entry in progress.history]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.get_input_embeddings()._forward_hooks


def test_a_short_memory_of_gradients_trains_another_prompt(job, tmp_path):
    long, _ = run(job, settings(), tmp_path / "long")
    short, _ = run(job, settings(beta2=0.5), tmp_path / "short")
    assert not torch.equal(long, short)


def scored(scores):
    """A validation that gives these scores by step, and the prompts that it has seen."""
    seen = {}

    def validate(theta, step):
        seen[step] = theta.clone()
        return scores[step]

    return validate, seen


def test_selection_keeps_the_best_measured_prompt(job, tmp_path):
    validate, seen = scored({0: 0.5, 4: 0.4, 8: 0.2, 12: 0.2, 14: 0.3})
    kept, progress = run(job, settings(select="validation", select_every=4), tmp_path, validate=validate)
    assert sorted(seen) == [0, 4, 8, 12, 14]
    assert (progress.best_step, progress.best_score) == (8, 0.2)
    assert torch.equal(kept, seen[8])
    assert torch.equal(seen[0], job[1])


def test_a_collapse_goes_back_to_the_best_and_goes_on_half_as_fast(job, tmp_path):
    validate, seen = scored({0: 0.3, 4: 0.2, 8: 0.45, 12: 0.25, 14: 0.25})
    chosen = settings(select="validation", select_every=4)
    kept, progress = run(job, chosen, tmp_path / "whole", validate=validate)
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
            run(job, chosen, folder, validate=validate, report=kill)
        resumed, again = run(job, chosen, folder, validate=validate)
        assert torch.equal(resumed, kept) and vars(again) == vars(progress)


def test_being_a_little_worse_than_the_start_is_no_collapse(job, tmp_path):
    validate, _ = scored({0: 0.3, 4: 0.39, 8: 0.39, 12: 0.39, 14: 0.39})
    chosen = settings(select="validation", select_every=4)
    _, progress = run(job, chosen, tmp_path, validate=validate)
    assert progress.halved == 0 and progress.best_step == 0


def test_training_that_only_harms_gives_the_start_back(job, tmp_path):
    kept, progress = run(job, settings(select_every=7), tmp_path, validate=lambda _, step: step)
    assert (progress.best_step, progress.halved) == (0, 2)
    assert torch.equal(kept, job[1])


def test_a_run_killed_while_measuring_measures_again_and_ends_the_same(job, tmp_path):
    chosen = settings(select_every=4)
    score = lambda theta, _: float(theta.norm())  # noqa: E731
    whole, expected = run(job, chosen, tmp_path / "whole", validate=score)

    def dies(theta, step):
        if step == 8:
            raise Killed
        return score(theta, step)

    with pytest.raises(Killed):
        run(job, chosen, tmp_path / "killed", validate=dies)
    resumed, progress = run(job, chosen, tmp_path / "killed", validate=score)
    assert torch.equal(resumed, whole)
    assert vars(progress) == vars(expected)


def test_checkpoint_comes_back_as_it_was(tmp_path):
    assert load_checkpoint(tmp_path) is None
    tensors = {"theta": torch.randn(2, 3), "weights": torch.ones(4)[::2]}
    progress = Progress(3, 0.25, 2, [{"step": 1, "total": 0.1}])
    save_checkpoint(tmp_path / "deep", tensors, progress)
    again, found = load_checkpoint(tmp_path / "deep")
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
    assert found == progress
    save_checkpoint(tmp_path / "deep", tensors, Progress())
    assert load_checkpoint(tmp_path / "deep")[1].best_score == float("inf")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, {"theta": torch.zeros(1)}, Progress(1))

    def full(_, path, **__):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("babelguard.trainer.save_file", full)
    with pytest.raises(UserError, match=r"No space left on device.*free some space"):
        save_checkpoint(tmp_path, {"theta": torch.ones(1)}, Progress(2))
    assert load_checkpoint(tmp_path)[1].step == 1


def test_the_step_size_rises_and_falls_to_a_twentieth():
    constant = Settings(model="demo", decay="none", steps=24)
    falling = constant.model_copy(update={"decay": "cosine"})
    assert {step_factor(step, constant) for step in range(24)} == {1.0}
    factors = [step_factor(step, falling) for step in range(25)]
    assert factors[0] < factors[1] > factors[2]
    assert factors[1:] == sorted(factors[1:], reverse=True)
    assert factors[-1] == pytest.approx(0.05)
    assert step_factor(0, falling.model_copy(update={"steps": 1})) == pytest.approx(1.0)
