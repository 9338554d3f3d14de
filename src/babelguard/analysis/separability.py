"""Measure how well a model separates harmful from harmless prompts in each language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from babelguard.method.space import fit_head

# Below this AUROC, a model does not separate harmful from harmless prompts in a language. The threshold is three standard
# errors above chance for 64 + 64 rows.
MIN_AUROC = 0.65


def auroc(scores: Tensor, harmless: Tensor) -> float:
    """Return the probability that a harmless prompt scores higher than a harmful prompt; 0.5 is chance level.

    Args:
        scores: One harmlessness logit per prompt, [rows].
        harmless: 1 for harmless rows, 0 for harmful rows, [rows].
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(harmless.numpy(), scores.numpy()))


def held_out_scores(
    coordinates: Tensor, harmless: Tensor, groups: Sequence[Sequence[int]], *, folds: int = 5, seed: int = 0
) -> Tensor:
    """Return the logit that each row gets from a head fitted on the other folds, with twins in the same fold.

    Args:
        coordinates: Coordinates z of one language, [rows, m].
        harmless: 1 for harmless rows, 0 for harmful rows, [rows].
        groups: Indices of rows that must be in the same fold, such as a pair of twins.
        folds: Maximum number of folds. Fewer are used if there are fewer groups, or fewer rows of one label.
        seed: Random seed for shuffling the folds.

    Returns:
        Harmlessness logits, [rows].
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
    return torch.tensor(scores)


def language_aurocs(
    states: Tensor, harmless: Tensor, groups: Sequence[Sequence[int]], *, dimensions: int = 16, seed: int = 0
) -> list[float]:
    """Return the cross-validated AUROC of a head fitted on each language.

    An AUROC near 0.5 means that the states of this language do not separate harmful from harmless prompts, so training
    on it fits noise. The head uses more directions than the safety space (4), to find a difference in any direction.

    Args:
        states: States x of the same rows in L languages, [L, rows, d].
        harmless: 1 for harmless rows, 0 for harmful rows, [rows].
        groups: Indices of rows that must be in the same fold, such as a pair of twins.
        dimensions: Number of principal components over all languages to use.
        seed: Random seed for shuffling the folds.

    Returns:
        The AUROC of each language, or nan if there are too few rows for cross-validation.
    """
    scores = language_scores(states, harmless, groups, dimensions=dimensions, seed=seed)
    return [float("nan")] * len(states) if scores is None else [auroc(one, harmless) for one in scores]


def language_scores(
    states: Tensor, harmless: Tensor, groups: Sequence[Sequence[int]], *, dimensions: int = 16, seed: int = 0
) -> Tensor | None:
    """Return the logits of held-out rows under a head fitted on each language; see `language_aurocs`.

    Returns:
        Harmlessness logits [L, rows], or None if there are too few rows for cross-validation.
    """
    from sklearn.decomposition import PCA

    count, rows, width = states.shape
    smallest = int(torch.bincount(harmless.long(), minlength=2).min())
    if min(smallest, len(groups)) < 2:
        return None
    flat = states.reshape(count * rows, width).double().numpy()
    size = min(dimensions, width, count * rows)
    placed = torch.tensor(PCA(n_components=size, svd_solver="full").fit_transform(flat)).reshape(count, rows, size)
    return torch.stack([held_out_scores(one, harmless, groups, seed=seed) for one in placed])


def separable_languages(aurocs: Sequence[float], count: int) -> list[int]:
    """Return the indices of the languages in which the model separates harmful from harmless prompts, in order.

    Without this filter, `choose_languages` would prefer languages that are not separable. Such a language correlates with no
    other language, so its own choice is the only way to cover it.

    Args:
        aurocs: AUROC per language, from `language_aurocs`. A language with nan is included.
        count: Minimum number of languages. If too few are separable, those with the next highest AUROC are added.
    """
    separable = [k for k, value in enumerate(aurocs) if not value < MIN_AUROC]
    rest = sorted(set(range(len(aurocs))) - set(separable), key=lambda k: -aurocs[k])
    return sorted(separable + rest[: max(0, count - len(separable))])


def centre_distance(coordinates: Tensor, reference: Tensor) -> float:
    """Return the distance between the centres of two languages, in standard deviations within a language.

    Args:
        coordinates: Coordinates z of one language, [rows, m].
        reference: Coordinates z of the other language, usually English, [rows, m].
    """
    within = torch.cat([coordinates - coordinates.mean(0), reference - reference.mean(0)])
    scale = within.double().pow(2).mean(0).sqrt().clamp_min(1e-12)
    return float(((coordinates.double().mean(0) - reference.double().mean(0)) / scale).norm())
