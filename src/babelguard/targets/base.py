"""The contract of a target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from babelguard.defences import Defence


class TargetReply(NamedTuple):
    """A reply.

    Attributes:
        text: Its text.
        finished: Whether it ended before the token limit.
        date: The date in the chat (YYYY-MM-DD), if the chat template reads the clock. It is not part of the key.
        fingerprint: The system fingerprint that a server gave with the reply.
    """

    text: str
    finished: bool
    date: str | None = None
    fingerprint: str | None = None


# Receives (index of the question, reply) pairs after each batch or, from a server, after each reply.
Done = Callable[[list[tuple[int, TargetReply]]], None]


class Target(Protocol):
    """Answers chats. A local model can also return hidden states; see `LocalModel.states`.

    Attributes:
        name: Name in tables.
    """

    @property
    def name(self) -> str:
        """Name of the target."""
        ...

    def key(self, defence: Defence, question: str, tokens: int) -> str:
        """Identify the reply to a question. Equal keys mean equal replies, so that a logged reply can be reused."""
        ...

    def replies(
        self,
        defence: Defence,
        questions: Sequence[str],
        *,
        tokens: Sequence[int],
        done: Done,
        known: Collection[int] = (),
        names: Sequence[str] | None = None,
    ) -> None:
        """Answer questions under a defence, and pass the replies to `done`.

        Args:
            defence: The defence.
            questions: All questions, including those that have been answered already.
            tokens: Maximum length of the reply to each question.
            done: Called with the replies of each batch.
            known: Indices of questions that need no reply.
            names: Name of each question in messages.

        Raises:
            UserError: If a question is too long.
        """
        ...
