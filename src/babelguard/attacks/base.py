"""The contract of an attack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from babelguard.corpus import Question


class Attack(Protocol):
    """Rewrites requests. Register an implementation under the entry point group `babelguard.attacks`.

    Harmless requests are rewritten in the same way as harmful ones, so that the false refusal rate stays comparable.

    Attributes:
        name: Name in tables.
    """

    name: str

    def apply(self, row: Question) -> Question:
        """Return the row with another text. Its id, label and language stay the same.

        The result must depend on the row only, so that a resumed evaluation sends the same requests.
        """
        ...


def apply_attack(rows: Iterable[Question], attack: Attack) -> list[Question]:
    """Apply an attack to every row."""
    return [attack.apply(row) for row in rows]
