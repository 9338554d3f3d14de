"""The contract of a judge, which classifies replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

Label = Literal["harmful", "harmless"]
LABELS: tuple[Label, Label] = ("harmful", "harmless")


class Verdict(StrEnum):
    """The class of a reply.

    `broken` is a reply that is not language. `unscored` is a reply that the judge cannot classify.
    """

    REFUSED = "refused"
    ANSWERED = "answered"
    BROKEN = "broken"
    UNSCORED = "unscored"


class Exchange(NamedTuple):
    """A request and the reply to be judged.

    Attributes:
        question: The request as the user wrote it.
        reply: The reply as decoded, without the thoughts of reasoning models.
        language: Code of the language of the request. The reply may be in another language.
        label: Whether the request is harmful or harmless, or None if that is not known.
        finished: False if the reply was cut off at the token limit.
    """

    question: str
    reply: str
    language: str
    label: Label | None = None
    finished: bool = True


class Judgement(NamedTuple):
    """A verdict, and the reason for it in a few words."""

    verdict: Verdict
    reason: str


class Judge(Protocol):
    """Judges replies. Register an implementation under the entry point group `babelguard.judges`.

    Attributes:
        name: Appears in tables and in the name of the verdicts file.
        version: Verdicts are cached per version. Change it whenever the same reply may be judged differently.
    """

    @property
    def name(self) -> str:
        """Name of the judge."""
        ...

    @property
    def version(self) -> str:
        """Version of the judge."""
        ...

    def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """Judge a batch of replies.

        Args:
            exchanges: The requests and replies.

        Returns:
            One judgement per exchange, in the same order. A reply that cannot be judged is `unscored`; this method
            must not raise because of a single reply.
        """
        ...

    def unsupported(self, languages: Iterable[str]) -> list[str]:
        """Return those of the given language codes in which this judge cannot judge replies.

        Replies in these languages must be `unscored`.
        """
        ...
