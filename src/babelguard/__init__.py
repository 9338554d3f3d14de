"""babelguard hardens a frozen chat model against harmful requests in any language with a learned soft safety prompt.

Public names: `fit`, `evaluate`, `SafetyPrompt`, `Settings`, `UserError`. They are imported when first used, so that
`import babelguard` and `babelguard --help` do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from babelguard.config import Settings
    from babelguard.defend import fit
    from babelguard.errors import UserError
    from babelguard.evaluate_file import evaluate
    from babelguard.safety_prompt import SafetyPrompt

_HOMES = {
    "SafetyPrompt": "babelguard.safety_prompt",
    "Settings": "babelguard.config",
    "UserError": "babelguard.errors",
    "evaluate": "babelguard.evaluate_file",
    "fit": "babelguard.defend",
}

__all__ = ["SafetyPrompt", "Settings", "UserError", "__version__", "evaluate", "fit"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'babelguard' has no attribute '{name}'")
