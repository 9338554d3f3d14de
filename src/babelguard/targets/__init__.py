"""Targets answer chats: a model in this process, or models at a server; see `babelguard.targets.base` for the contract."""

from babelguard.targets.base import Target
from babelguard.targets.endpoint import Endpoint
from babelguard.targets.local import LocalModel

__all__ = ["Endpoint", "LocalModel", "Target"]
