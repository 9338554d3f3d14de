"""Harden a frozen chat model against harmful requests in many languages with a learned soft safety prompt.

Public names are imported on first use, so that `import babelguard` and `babelguard --help` are fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from babelguard.config import Settings
    from babelguard.corpus import load_corpus
    from babelguard.evaluation.outcome import Metrics
    from babelguard.jobs.analyse import analyse
    from babelguard.jobs.evaluate import evaluate
    from babelguard.jobs.fit import fit
    from babelguard.prompt import SafetyPrompt, unprotect

_MODULES = {
    "Metrics": "babelguard.evaluation.outcome",
    "SafetyPrompt": "babelguard.prompt",
    "Settings": "babelguard.config",
    "analyse": "babelguard.jobs.analyse",
    "evaluate": "babelguard.jobs.evaluate",
    "fit": "babelguard.jobs.fit",
    "load_corpus": "babelguard.corpus",
    "unprotect": "babelguard.prompt",
}

__all__ = ["Metrics", "SafetyPrompt", "Settings", "analyse", "evaluate", "fit", "load_corpus", "unprotect"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'babelguard' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
