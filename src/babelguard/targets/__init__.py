"""Targets answer chats. So far there is one, a local model; see `babelguard.targets.base` for the contract."""

from babelguard.targets.base import Target
from babelguard.targets.local import LocalModel

__all__ = ["LocalModel", "Target"]
