"""A model behind a URL: as it is served, or with a written safety prompt."""

from __future__ import annotations

import hashlib

from babelguard.defences.base import Defence
from babelguard.prompt.placement import Messages


class ServedModel(Defence):
    """A model as it is served, which may carry a defence of its own, or with a written prompt as the system message.

    Args:
        model: Its name at the server.
        system: The written prompt, or None.
    """

    def __init__(self, model: str, system: str | None = None) -> None:
        self.model, self.system = model, system
        self.name = model if system is None else f"{model} + written"

    @property
    def digest(self) -> str:
        """Hash of the name of the model and of the system message."""
        return hashlib.sha256(f"{self.model}\x1f{self.system or ''}".encode("utf-8", "replace")).hexdigest()[:16]

    def messages(self, question: str) -> Messages:
        """Return the question, after the written prompt if there is one."""
        asked = super().messages(question)
        return asked if self.system is None else [{"role": "system", "content": self.system}, *asked]
