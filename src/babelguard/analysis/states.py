"""Hidden states of parallel rows in all their languages."""

from __future__ import annotations

import torch
from torch import Tensor

from babelguard.corpus import Corpus
from babelguard.defences import Defence
from babelguard.screen import Tick
from babelguard.targets import LocalModel


def states_of(model: LocalModel, defence: Defence, rows: Corpus, tick: Tick | None = None) -> Tensor:
    """Return the hidden states at the last token of each chat under a defence.

    Args:
        model: The model.
        defence: The defence.
        rows: Parallel rows.
        tick: Called after each language with (done, total).

    Returns:
        States [L, rows, d], float32, on the CPU.

    Raises:
        UserError: If a row does not fit into the model's context.
    """
    found = []
    for number, code in enumerate(rows.languages):
        names = [f"{row.id} ({code})" for row in rows.rows]
        found.append(model.states(defence, rows.texts(code), names=names))
        if tick is not None:
            tick(number + 1, len(rows.languages))
    return torch.stack(found)


def by_twins(rows: Corpus, states: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the states of harmful rows and, if each has a harmless twin, those of the twins in the same order.

    Args:
        rows: Parallel rows.
        states: From `states_of`, [L, rows, d].

    Returns:
        The harmful states [L, harmful rows, d], and the harmless states of the same shape or None.
    """
    places = {row.id: k for k, row in enumerate(rows.rows) if not row.harmful}
    harmful = [k for k, row in enumerate(rows.rows) if row.harmful]
    twins = [places.get(rows.rows[k].twin or "") for k in harmful]
    known = [k for k in twins if k is not None]
    return states[:, harmful], states[:, known] if len(known) == len(harmful) else None
