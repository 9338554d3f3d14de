"""Find the layer whose states best separate harmful from harmless prompts."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from babelguard.analysis.separability import language_aurocs
from babelguard.corpus import Corpus
from babelguard.defences import NoDefence
from babelguard.screen import Tick
from babelguard.targets import LocalModel

# Eight layers at equal distances are compared; the first three hardly separate anything.
PARTS, FIRST = 8, 4


def candidate_layers(count: int) -> list[int]:
    """Return the numbers of the layers to compare, counted from 1, for a model with `count` layers."""
    return sorted({max(1, round(count * part / PARTS)) for part in range(FIRST, PARTS)})


def layer_aurocs(
    model: LocalModel, rows: Corpus, languages: Sequence[str], seed: int, tick: Tick | None = None
) -> dict[int | None, list[float]]:
    """Measure the separability at each candidate layer without a prompt. Twins are held out together.

    Args:
        model: The model.
        rows: Parallel rows.
        languages: The languages.
        seed: Random seed of the folds.
        tick: Called after each language with (done, total).

    Returns:
        Layer (None for the state after the final norm) -> AUROC of each language; see `language_aurocs`.

    Raises:
        UserError: If a row does not fit into the model's context.
    """
    layers = candidate_layers(model.chat.model.config.get_text_config().num_hidden_layers)
    found: list[Tensor] = []
    for number, code in enumerate(languages):
        names = [f"{row.id} ({code})" for row in rows.rows]
        found.append(model.states_at_layers(NoDefence(), rows.texts(code), layers, names=names))
        if tick is not None:
            tick(number + 1, len(languages))
    labels = torch.tensor(rows.labels, dtype=torch.float32)
    by_layer = torch.stack(found, dim=1)  # [1 + layers, L, rows, d]
    return {
        layer: language_aurocs(states, labels, rows.groups, seed=seed)
        for layer, states in zip([None, *layers], by_layer, strict=True)
    }


def best_layer(aurocs: dict[int | None, list[float]]) -> int | None:
    """Return the layer with the highest mean AUROC over languages. Languages without an AUROC are left out."""

    def mean(layer: int | None) -> float:
        known = [value for value in aurocs[layer] if value == value]
        return fmean(known) if known else 0.5

    return max(aurocs, key=mean)
