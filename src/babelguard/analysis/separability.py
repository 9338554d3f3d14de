"""How well harmful and harmless prompts are told apart in the safety space, language by language."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from babelguard.space import fit_head


def auroc(scores: Tensor, harmless: Tensor) -> float:
    """Chance that a harmless prompt scores above a harmful one; 0.5 is a coin.

    Args:
        scores: A harmlessness logit per prompt, [rows].
        harmless: 1 harmless, 0 harmful, [rows].
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(harmless.numpy(), scores.numpy()))


def own_head_auroc(coordinates: Tensor, harmless: Tensor, groups: list[int], *, folds: int = 5, seed: int = 0) -> float:
    """AUROC of a head of the language's own, each row scored by a head that saw neither the row nor its twin.

    Args:
        coordinates: z of one language, [rows, m].
        harmless: 1 harmless, 0 harmful, [rows].
        groups: Rows of a group stay in one fold, such as a pair of twins, [rows].
        folds: Parts of the cross-validation, at most the number of groups and of rows of either label.
        seed: Of the folds' shuffling.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    z, target = coordinates.double().numpy(), harmless.double().numpy()
    scores = np.zeros(len(z))
    count = min(folds, len(set(groups)), *torch.bincount(harmless.long(), minlength=2).tolist())
    parts = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    for train, held_out in parts.split(z, target, groups):
        weight, bias = fit_head(z[train], target[train], folds="ten", seed=seed)
        scores[held_out] = z[held_out] @ weight + bias
    return auroc(torch.tensor(scores), harmless)


def centre_distance(coordinates: Tensor, reference: Tensor) -> float:
    """Distance between the centres of two languages, in standard deviations of rows within a language.

    Args:
        coordinates: z of one language, [rows, m].
        reference: z of the other, usually English, [rows, m].
    """
    within = torch.cat([coordinates - coordinates.mean(0), reference - reference.mean(0)])
    scale = within.double().pow(2).mean(0).sqrt().clamp_min(1e-12)
    return float(((coordinates.double().mean(0) - reference.double().mean(0)) / scale).norm())
