"""Compute attack features and their correlation between languages.

Row i has the same meaning in every language, so languages can be compared row by row. Two languages are similar for a
model if the same attacks stand out in both, in the same directions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attack_features(harmful: Tensor, harmless: Tensor | None = None, *, dimensions: int = 8) -> Tensor:
    """Compute the features of each attack within its language.

    If every harmful row has a harmless twin, the state of the twin is subtracted first, which removes the effect of the
    words that both have in common. Then the mean of the language is subtracted. PCA over all languages together gives
    the directions, and each feature is scaled to unit variance.

    Args:
        harmful: States of parallel harmful rows at the last token of the chat, [L, rows, d].
        harmless: States of their harmless twins in the same order, [L, rows, d], or None.
        dimensions: Number of directions to keep; at most rows - 1 and d are kept.

    Returns:
        [L, rows, dimensions].

    Raises:
        ValueError: If there are fewer than three rows, too few for a correlation.
    """
    if harmful.shape[1] < 3:
        raise ValueError(f"attack features need at least three parallel harmful rows, and there are {harmful.shape[1]}")
    states = harmful.double() if harmless is None else harmful.double() - harmless.double()
    centred = states - states.mean(1, keepdim=True)
    _, rows, width = centred.shape
    kept = min(dimensions, rows - 1, width)
    _, _, directions = torch.linalg.svd(centred.reshape(-1, width), full_matrices=False)
    coordinates = centred @ directions[:kept].T
    scaled: Tensor = coordinates / coordinates.pow(2).mean((0, 1)).sqrt().clamp_min(1e-12)
    return scaled


def correlation(features: Tensor) -> Tensor:
    """Return the Pearson correlation of the attack features between languages, over rows and directions.

    Args:
        features: Attack features from `attack_features`, [L, rows, m].

    Returns:
        The matrix [L, L], symmetric, with ones on the diagonal. A language with constant features has correlation 0 with
        all others.
    """
    flat = features.double().flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    norms = flat.norm(dim=1)
    unit = flat / norms.clamp_min(1e-12)[:, None]
    matrix: Tensor = (unit @ unit.T).clamp(-1.0, 1.0)
    matrix.fill_diagonal_(1.0)
    return matrix
