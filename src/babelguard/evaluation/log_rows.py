"""The lines of the logs of replies and verdicts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from babelguard.files import LogRow
from babelguard.judges.base import Expected, Label

# Tables show names, so they are not empty and have no control characters.
Name = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$")]


class ReplyRow(LogRow):
    """A line of generations.jsonl: a reply, and what it replies to. Older versions logged no question."""

    defence: Name
    seed: int | None
    split: Name
    language: Code
    id: str
    label: Label
    question: str = ""
    expected: Expected | None = None
    reply: str
    finished: bool


class VerdictRow(LogRow):
    """A line of verdicts.<judge>.jsonl. Verdicts of older versions have other names; only those that are used are checked.

    Attributes:
        verdict: The verdict.
        foreign: Whether the reply is in another language than the request.
        judged: Hash of what was judged. A verdict on another reply is not used. Earlier versions did not write it.
    """

    verdict: str
    foreign: bool | None = None
    judged: str | None = None
