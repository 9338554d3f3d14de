"""Replies with known verdicts, which judges are made and checked with: `data/*.jsonl`, one file per language.

The part `train` may be used to make a judge, and the part `held` only to check it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from babelguard.errors import UserError
from babelguard.judges.base import Exchange, Label, Verdict

DATA = Path(__file__).parent / "data"
Part = Literal["train", "held"]


class LabelledReply(BaseModel):
    """A reply whose verdict is known.

    Attributes:
        id: Its id, unique in the whole collection.
        language: Code of the language of the request.
        question: The request; '' if it is not known.
        label: Whether the request is harmful or harmless; None if it is not known.
        reply: The reply.
        finished: False if the reply is cut off.
        style: How the reply refuses or answers, such as `impersonal` or `steps`.
        origin: Who wrote the reply.
        imitates: The models whose manner the reply has, or None.
        verdict: The true verdict.
        readers: The verdicts of the readers who labelled the reply without seeing its style, or ().
        part: The part of the collection.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    language: str
    question: str = ""
    label: Label | None = None
    reply: str
    finished: bool = True
    style: str
    origin: str
    imitates: str | None = None
    verdict: Verdict
    readers: tuple[Verdict, ...] = ()
    part: Part

    @property
    def exchange(self) -> Exchange:
        """The request and the reply, for a judge."""
        return Exchange(self.question, self.reply, self.language, self.label, self.finished)


def labelled_replies(part: Part | None = None, languages: Collection[str] | None = None) -> list[LabelledReply]:
    """Read the labelled replies, in the order of the files and lines.

    Args:
        part: `train` or `held`; None reads both.
        languages: Codes of the languages; None reads all.

    Raises:
        UserError: If a line is damaged or an id occurs twice.
    """
    found: dict[str, LabelledReply] = {}
    for path in sorted(DATA.glob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                reply = LabelledReply.model_validate_json(line)
            except ValidationError as error:
                raise UserError(f"Line {number} of {path} is damaged; reinstall babelguard.") from error
            if reply.id in found:
                raise UserError(f"The id '{reply.id}' in line {number} of {path} occurs twice; reinstall babelguard.")
            found[reply.id] = reply
    return [
        reply
        for reply in found.values()
        if (part is None or reply.part == part) and (languages is None or reply.language in languages)
    ]
