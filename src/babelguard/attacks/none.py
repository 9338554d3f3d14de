"""No attack: requests are sent unchanged."""

from __future__ import annotations

from babelguard.corpus import Question


class NoAttack:
    """Leaves requests unchanged."""

    name = "none"

    def apply(self, row: Question) -> Question:
        """Return the row unchanged."""
        return row
