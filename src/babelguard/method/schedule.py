"""Which rows and languages each training step uses, and the learning rate: pure functions of the step and the seed.

A resumed run therefore continues exactly like an uninterrupted one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from babelguard.config.sections import Training


class Step(NamedTuple):
    """The rows of one step.

    The centre language of a row is the language in which the losses are computed. The other languages of the row are used
    only by losses that compare languages.

    Attributes:
        rows: Indices of the rows, [batch].
        languages: Index of the centre language of each row, [batch].
        others: Indices of further languages of each row, [k][batch].
    """

    rows: list[int]
    languages: list[int]
    others: list[list[int]]


def plan_step(
    step: int,
    *,
    training: Training,
    seed: int,
    groups: Sequence[Sequence[int]],
    languages: int,
    english: int | None,
    other_languages: int = 0,
) -> Step:
    """Choose the rows and languages of a step.

    An epoch uses every row once, except the rows left over after the last full batch. With `batches="twins"` the rows of a
    group are in the same batch and language.

    Args:
        step: Number of the step, counted from 0.
        training: Uses `steps`, `batch_size`, `schedule` and `batches`.
        seed: Random seed.
        groups: Indices of all rows. Rows with similar wording (twins) form a group.
        languages: Number of training languages.
        english: Index of English, or None.
        other_languages: Other languages sampled per row, for losses that compare languages.
    """
    if training.batches == "rows":
        groups = [[row] for row in sorted(row for group in groups for row in group)]
    order = list(groups)
    rows = sum(map(len, groups))
    batch = min(training.batch_size, rows)
    per_epoch = max(1, rows // batch)
    epoch, place = divmod(step, per_epoch)
    random.Random(f"{seed}/rows/{epoch}").shuffle(order)
    dealt = [(row, number) for number, group in enumerate(order) for row in group][place * batch : (place + 1) * batch]
    rng = random.Random(f"{seed}/languages/{step}")
    if training.schedule == "english":
        centre = [english or 0] * batch
    elif training.schedule == "sequential":
        centre = [min(languages - 1, step * languages // max(1, training.steps))] * batch
    elif training.schedule == "rotate":
        centre = [epoch % languages] * batch
    elif training.schedule == "turns":
        centre = [step % languages] * batch
    else:
        # Groups are shuffled already, so assigning languages in turn uses every language equally often.
        shift = rng.randrange(languages) - dealt[0][1]
        centre = [(number + shift) % languages for _, number in dealt]
    others: list[list[int]] = []
    if other_languages and languages > 1:
        count = min(other_languages, languages - 1)
        samples = [rng.sample([k for k in range(languages) if k != c], count) for c in centre]
        others = [[sample[k] for sample in samples] for k in range(count)]
    return Step([row for row, _ in dealt], centre, others)


def planned_pairs(
    *, training: Training, seed: int, groups: Sequence[Sequence[int]], languages: int, english: int | None
) -> set[tuple[int, int]]:
    """Return the (language, row) pairs that are the centre of a step at least once; see `plan_step`."""
    return {
        pair
        for step in range(training.steps)
        for plan in [plan_step(step, training=training, seed=seed, groups=groups, languages=languages, english=english)]
        for pair in zip(plan.languages, plan.rows, strict=True)
    }


def learning_rate_factor(step: int, *, steps: int, decay: str) -> float:
    """Return the factor of the learning rate at a step (counted from 0).

    Args:
        step: Number of the step.
        steps: Number of steps of the training.
        decay: `none`, or `cosine` with warm-up.
    """
    if decay == "none":
        return 1.0
    warm = min(1.0, (step + 1) / max(1, steps // 12))
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))
