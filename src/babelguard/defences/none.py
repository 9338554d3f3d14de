"""No defence: the bare model."""

from __future__ import annotations

import hashlib

from babelguard.defences.base import Defence


class NoDefence(Defence):
    """The bare model, with the chat template's built-in system text if there is one."""

    name = "none"

    @property
    def digest(self) -> str:
        """Hash of an empty system message."""
        return hashlib.sha256(b"").hexdigest()[:16]
