"""How well harmful and harmless prompts are told apart in the safety space, language by language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from babelguard.space import fit_head

# Below it a language counts as one in which the model does not see harm: three standard errors of 64 + 64 rows above chance.
BLIND = 0.65


def auroc(scores: Tensor, harmless: Tensor) -> float:
    """Chance that a harmless prompt scores above a harmful one; 0.5 is a coin.

    Args:
        scores: A harmlessness logit per prompt, [rows].
        harmless: 1 harmless, 0 harmful, [rows].
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(harmless.numpy(), scores.numpy()))


def own_head_auroc(
    coordinates: Tensor, harmless: Tensor, groups: Sequence[Sequence[int]], *, folds: int = 5, seed: int = 0
) -> float:
    """AUROC of a head of the language's own, each row scored by a head that saw neither the row nor its twin.

    Args:
        coordinates: z of one language, [rows, m].
        harmless: 1 harmless, 0 harmful, [rows].
        groups: Indices of rows that stay in one fold, such as a pair of twins.
        folds: Parts of the cross-validation, at most the number of groups and of rows of either label.
        seed: Of the folds' shuffling.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    z, target = coordinates.double().numpy(), harmless.double().numpy()
    scores = np.zeros(len(z))
    group_of = np.zeros(len(z), dtype=int)
    for number, group in enumerate(groups):
        group_of[list(group)] = number
    count = min(folds, len(groups), *torch.bincount(harmless.long(), minlength=2).tolist())
    parts = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    for train, held_out in parts.split(z, target, group_of):
        weight, bias = fit_head(z[train], target[train], folds="ten", seed=seed)
        scores[held_out] = z[held_out] @ weight + bias
    return auroc(torch.tensor(scores), harmless)


def language_aurocs(
    states: Tensor, harmless: Tensor, groups: Sequence[Sequence[int]], *, dimensions: int = 16, seed: int = 0
) -> list[float]:
    """How well the states of each language tell its own harmful and harmless prompts apart, on rows held out.

    About 0.5 says that the model does not see harm in that language at all: training on it fits noise, and no prompt can
    mend it. 16 directions, and not the 4 of the safety space, since the question is what the states hold anywhere.

    Args:
        states: x of the same rows in L languages, [L, rows, d].
        harmless: 1 harmless, 0 harmful, [rows].
        groups: As in `own_head_auroc`.
        dimensions: Directions of the largest variance over all languages.
        seed: Of the folds.

    Returns:
        AUROC of each language; nan where there are too few rows to hold any out.
    """
    from sklearn.decomposition import PCA

    count, rows, width = states.shape
    smallest = int(torch.bincount(harmless.long(), minlength=2).min())
    if min(smallest, len(groups)) < 2:
        return [float("nan")] * count
    flat = states.reshape(count * rows, width).double().numpy()
    size = min(dimensions, width, count * rows)
    placed = torch.tensor(PCA(n_components=size, svd_solver="full").fit_transform(flat)).reshape(count, rows, size)
    return [own_head_auroc(one, harmless, groups, seed=seed) for one in placed]


def worth_training_on(aurocs: Sequence[float], count: int) -> list[int]:
    """Indices of the languages in which the model sees harm, at least `count` of them, in order.

    Facility location alone would take the others first: what correlates with nothing is covered by nothing but itself.

    Args:
        aurocs: From `language_aurocs`; nan, where nothing could be held out, counts as seen.
        count: How many are needed; where too few are seen, the best of the rest join them.
    """
    seen = [k for k, value in enumerate(aurocs) if not value < BLIND]
    rest = sorted(set(range(len(aurocs))) - set(seen), key=lambda k: -aurocs[k])
    return sorted(seen + rest[: max(0, count - len(seen))])


def centre_distance(coordinates: Tensor, reference: Tensor) -> float:
    """Distance between the centres of two languages, in standard deviations of rows within a language.

    Args:
        coordinates: z of one language, [rows, m].
        reference: z of the other, usually English, [rows, m].
    """
    within = torch.cat([coordinates - coordinates.mean(0), reference - reference.mean(0)])
    scale = within.double().pow(2).mean(0).sqrt().clamp_min(1e-12)
    return float(((coordinates.double().mean(0) - reference.double().mean(0)) / scale).norm())
