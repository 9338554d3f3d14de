"""The result of a verification."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

State = Literal["passed", "failed", "not checked"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(_Record):
    """One line of the table.

    Attributes:
        name: What was compared.
        state: The outcome.
        found: What was measured.
        tolerance: What is allowed.
        remark: The first mismatch, or why this was not checked.
    """

    name: str
    state: State
    found: str
    tolerance: str
    remark: str = ""


class Verification(_Record):
    """The content of verification.json.

    Attributes:
        format: Version of the format.
        served_by: What served the model.
        number_format: The number format that the tolerances are for.
        prompt_sha256: SHA-256 of the vectors of the safety prompt.
        languages: Codes of the languages of the chats.
        chats: Number of chats.
        tokens: Number of tokens of the replies of the reference.
        checks: The checks.
    """

    format: int = 1
    served_by: str
    number_format: str
    prompt_sha256: str
    languages: tuple[str, ...]
    chats: int
    tokens: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.state != "failed" for check in self.checks)
