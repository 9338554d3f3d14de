"""Attack features, and how they correlate between languages. Pure tensor functions.

Row i says the same thing in every language, so a language can be compared with another row by row: two languages are
alike for a model if the attacks that stand out in the one stand out in the other, and in the same directions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attack_features(harmful: Tensor, harmless: Tensor | None = None, *, dimensions: int = 8) -> Tensor:
    """Coordinates of every attack within its language.

    The mean of a language is taken out, since it says which language it is and not which attack; where every harmful
    row has a harmless twin, the twin's state is taken out first, since the words that both share are no feature of
    the attack. On what is left, PCA over all languages together gives the directions, and each is scaled to unit
    variance.

    Args:
        harmful: States of parallel harmful rows at the last token of the chat, [L, rows, d].
        harmless: States of their twins in the same order, [L, rows, d], or None.
        dimensions: Directions to keep, at most rows - 1 and d.

    Returns:
        [L, rows, dimensions].

    Raises:
        ValueError: with fewer than three rows, where a correlation would say nothing.
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
    """Pearson's correlation of the attack features of every two languages, over rows and directions.

    Args:
        features: from `attack_features`, [L, rows, m].

    Returns:
        [L, L], symmetric, ones on the diagonal; a language whose features are all equal correlates with nothing.
    """
    flat = features.double().flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    norms = flat.norm(dim=1)
    unit = flat / norms.clamp_min(1e-12)[:, None]
    matrix: Tensor = (unit @ unit.T).clamp(-1.0, 1.0)
    matrix.fill_diagonal_(1.0)
    return matrix
