"""Which rows and languages a training step uses, and the learning rate."""

from __future__ import annotations

from collections import Counter

import pytest

from babelguard.config.sections import Training
from babelguard.method.schedule import learning_rate_factor, plan_step, planned_pairs

ROWS = 10
TWINS = [[k, k + 5] for k in range(5)]


def plan(step, *, seed=0, groups=TWINS, languages=3, english=0, others=0, **training):
    given = Training(**({"steps": 14, "batch_size": 4} | training))
    return plan_step(
        step,
        training=given,
        seed=seed,
        groups=groups,
        languages=languages,
        english=english,
        other_languages=others,
    )


def plans(steps, **changes):
    return [plan(k, steps=steps, **changes) for k in range(steps)]


def test_plan_is_a_function_of_step_and_seed():
    assert plans(9) == plans(9)
    # A step does not depend on the steps before it, so a resumed run continues with the same steps.
    assert plan(7) == plans(9)[7]
    assert [step.rows for step in plans(9, seed=1)] != [step.rows for step in plans(9)]


def test_an_epoch_repeats_no_row_and_epochs_differ():
    steps = plans(6)
    epochs = [steps[k].rows + steps[k + 1].rows for k in (0, 2, 4)]
    assert all(len(set(rows)) == 8 for rows in epochs)
    assert len({tuple(rows) for rows in epochs}) == 3
    # A batch larger than the corpus takes every row.
    assert sorted(plans(1, batch_size=64)[0].rows) == list(range(ROWS))


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


def test_twins_share_a_batch_and_a_language():
    for step in plans(30, schedule="shuffled", batches="twins"):
        first, second = step.rows[::2], step.rows[1::2]
        assert [b - a for a, b in zip(first, second, strict=True)] == [5, 5]
        assert step.languages[::2] == step.languages[1::2]
        assert step.languages[0] != step.languages[2]
    # An epoch still repeats no row, and a row without a twin can be in the same batch as twins.
    epoch = [row for step in plans(2, batches="twins") for row in step.rows]
    assert len(set(epoch)) == 8
    lone = plan(0, batches="twins", groups=[[0, 1], [2], [3, 4]])
    assert len(set(lone.rows)) == 4


def test_english_is_found_at_any_position():
    assert plan(0, schedule="english", english=2).languages == [2, 2, 2, 2]


def test_shuffled_languages_come_equally_often():
    counts = Counter(language for step in plans(60, schedule="shuffled", batch_size=3) for language in step.languages)
    assert counts == {0: 60, 1: 60, 2: 60}


def test_other_languages_differ_from_the_centre_and_are_only_there_if_asked_for():
    for step in plans(6, others=2):
        assert len(step.others) == 2
        for place, centre in enumerate(step.languages):
            assert {centre, *(group[place] for group in step.others)} == {0, 1, 2}
    assert len(plans(1, others=1)[0].others) == 1
    assert len(plans(1, others=7)[0].others) == 2
    assert plans(1, others=0)[0].others == []
    assert plans(1, others=1, languages=1)[0].others == []


def test_the_learning_rate_rises_and_falls_to_a_twentieth():
    assert {learning_rate_factor(step, steps=24, decay="none") for step in range(24)} == {1.0}
    factors = [learning_rate_factor(step, steps=24, decay="cosine") for step in range(25)]
    assert factors[0] < factors[1] > factors[2]
    assert factors[1:] == sorted(factors[1:], reverse=True)
    assert factors[-1] == pytest.approx(0.05)
    assert learning_rate_factor(0, steps=1, decay="cosine") == pytest.approx(1.0)


@pytest.mark.parametrize("schedule", ["english", "rotate", "shuffled"])
def test_planned_pairs_are_the_centres_of_all_steps(schedule):
    training = Training(steps=9, batch_size=4, schedule=schedule)
    found = planned_pairs(training=training, seed=3, groups=TWINS, languages=3, english=0)
    steps = plans(9, seed=3, schedule=schedule)
    assert found == {pair for step in steps for pair in zip(step.languages, step.rows, strict=True)}
    assert {language for language, _ in found} == ({0} if schedule == "english" else {0, 1, 2})
