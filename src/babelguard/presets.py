"""Presets: the published methods and ours, each a set of values of `babelguard.config.Settings`.

`mcd-paper` follows the paper's formulas, `mcd-code` the released code; where the two differ, each choice is one word.
`mcd` is ours: what measured best on validation replies. `quick` is `mcd` on a part of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MCD: dict[str, Any] = {
    "schedule": "shuffled",
    "batches": "twins",
    "alignment": "frozen",
    "harmfulness_weight": 1e-2,
    "behaviour_weight": 4.0,
    "opening_weight": 2.0,
    "learning_rate": 0.1,
    "beta2": 0.95,
    "decay": "cosine",
    "steps": 240,
    "select": "validation",
    "select_every": 80,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The best of the written prompts, chosen on validation replies; nothing is trained.
    "written": {"steps": 0},
    # DRO: English rows and anchors alone, no alignment between languages.
    "dro": {
        "schedule": "english",
        "alignment": "none",
        "anchors": "english",
        "harmfulness_weight": 1e-2,
        "select": "last",
        "anchor_rows": 48,
    },
    # All languages shuffled together, no alignment between them.
    "mcd-mixture": {
        "schedule": "shuffled",
        "alignment": "none",
        "anchors": "english",
        "harmfulness_weight": 1e-2,
        "select": "last",
        "anchor_rows": 48,
    },
    # The released code's reading.
    "mcd-code": {
        "schedule": "sequential",
        "alignment": "frozen",
        "base_logits": "english",
        "anchors": "english",
        "harmfulness_weight": 1e-2,
        "harmfulness_folds": "one",
        "select": "last",
        "anchor_rows": 48,
    },
    # The paper's formulas.
    "mcd-paper": {
        "schedule": "rotate",
        "alignment": "live",
        "anchors": "english",
        "harmfulness_weight": 1.0,
        "select": "last",
        "anchor_rows": 48,
    },
    "mcd": _MCD,
    "quick": _MCD
    | {
        "steps": 80,
        "limit": 16,
        "limit_languages": 11,
        "anchor_rows": 8,
        "select_rows": 12,
        "select_every": 40,
    },
}
