"""Presets: the published methods and our own, each a set of values for `babelguard.config.settings.Settings`.

`mcd-paper` follows the formulas of the paper, `mcd-code` the authors' released code. `mcd` is our method, chosen on validation
replies. `quick` is `mcd` with a shorter start prompt, fewer steps and fewer test rows. It keeps the last step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MCD: dict[str, Any] = {
    "objective": {
        # The losses of the safety space are off: they need the states of all training rows under the start prompt, which takes
        # as long as the training of the preset `quick`.
        "weights": {
            "refusal": 0.0,
            "harmfulness": 0.0,
            "residual": 0.0,
            "alignment": 0.0,
            "behaviour": 4.0,
            "keep": 2.0,
        },
        "harmless_weight": 1.25,
        # The anchors are only used to find the tokens that begin refusals.
        "anchor_rows": 8,
    },
    "training": {
        "start": "long",
        "schedule": "shuffled",
        "batches": "twins",
        "learning_rate": 0.1,
        "beta2": 0.95,
        "decay": "cosine",
        "steps": 160,
    },
    "selection": {"keep": "validation", "every": 80, "rows": 16},
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The best written prompt, chosen on validation replies. Nothing is trained.
    "written": {"training": {"steps": 0}},
    # DRO (arXiv 2401.18018): English rows and anchors only, no alignment between languages.
    "dro": {
        "objective": {"weights": {"alignment": 0.0, "harmfulness": 1e-2}, "anchors": "english", "anchor_rows": 48},
        "training": {"schedule": "english"},
        "selection": {"keep": "last"},
    },
    # MCD with all languages shuffled together and no alignment between them.
    "mcd-mixture": {
        "objective": {"weights": {"alignment": 0.0, "harmfulness": 1e-2}, "anchors": "english", "anchor_rows": 48},
        "training": {"schedule": "shuffled"},
        "selection": {"keep": "last"},
    },
    # MCD as in the authors' released code.
    "mcd-code": {
        "objective": {
            "weights": {"alignment": 0.0, "frozen_alignment": 1e-3, "harmfulness": 1e-2},
            "base_logits": "english",
            "anchors": "english",
            "harmfulness_folds": "one",
            "anchor_rows": 48,
        },
        "training": {"schedule": "sequential"},
        "selection": {"keep": "last"},
    },
    # MCD as in the formulas of the paper.
    "mcd-paper": {
        "objective": {"weights": {"alignment": 1e-3, "harmfulness": 1.0}, "anchors": "english", "anchor_rows": 48},
        "training": {"schedule": "rotate"},
        "selection": {"keep": "last"},
    },
    "mcd": _MCD,
    "quick": {
        "objective": _MCD["objective"] | {"anchor_rows": 4},
        "training": _MCD["training"] | {"start": "medium", "steps": 52},
        "selection": {"keep": "last", "rows": 6},
        "evaluation": {"rows": 16, "max_languages": 7, "hard": False},
    },
}
