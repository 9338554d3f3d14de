"""The lines of the logs of replies and verdicts."""

from __future__ import annotations

from babelguard.files import LogRow
from babelguard.judges.base import Expected, Label


class ReplyRow(LogRow):
    """A line of generations.jsonl: a reply, and what it replies to. Older versions logged no question."""

    defence: str
    seed: int | None
    split: str
    language: str
    id: str
    label: Label
    question: str = ""
    expected: Expected | None = None
    reply: str
    finished: bool


class VerdictRow(LogRow):
    """A line of verdicts.<judge>.jsonl. Verdicts of older versions have other names; only those that are used are checked."""

    verdict: str
    foreign: bool | None = None
