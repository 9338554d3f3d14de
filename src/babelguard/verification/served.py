"""The contract of a served model that is verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from babelguard.verification.prompts import Chat


@dataclass(frozen=True)
class Expected:
    """What the reference does with a chat.

    Attributes:
        chat: The chat.
        prompt_ids: Token ids of the rendered chat.
        path: Token ids of the greedy reply, with the end token if the model ended it.
        texts: The text of the reply after 0, 1, ... tokens of the path.
        tops: The most likely token at each position of the path.
        margins: By how much the log-probability of the most likely token exceeds that of the second, at each position.
        others: Other likely tokens at each position, most likely first: how much less likely than the most likely token each is
            (a difference of log-probabilities), and the text of the reply with it.
        first: Log-probabilities of the first token of the reply, [vocabulary], float32.
        first_texts: The same for the most likely tokens, by their texts.
        reserved: The largest probability of a placeholder token at any position.
    """

    chat: Chat
    prompt_ids: tuple[int, ...]
    path: tuple[int, ...]
    texts: tuple[str, ...]
    tops: tuple[int, ...]
    margins: tuple[float, ...]
    others: tuple[tuple[tuple[float, str], ...], ...]
    first: Tensor
    first_texts: Mapping[str, float]
    reserved: float


@dataclass(frozen=True)
class Answer:
    """What a served model does with a chat. What it does not tell is None or empty.

    Attributes:
        prompt_ids: Token ids of the rendered chat.
        prompt_tokens: Their number.
        tops: The most likely token at each position of the path of the reference, after the same tokens.
        first: Log-probabilities of likely first tokens of the reply, by id.
        first_texts: The same by the text of the token.
        text: The greedy reply.
        fault: Why there is no answer, in one clause.
    """

    prompt_ids: tuple[int, ...] | None = None
    prompt_tokens: int | None = None
    tops: Sequence[int] | None = None
    first: Mapping[int, float] = field(default_factory=dict)
    first_texts: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None
    fault: str | None = None


class Served(Protocol):
    """A model that is served.

    Attributes:
        name: What serves it, for the table.
        parallel: Number of questions that it is asked at the same time.
    """

    name: str
    parallel: int

    def answer(self, expected: Expected) -> Answer:
        """Render and answer a chat.

        Args:
            expected: The chat, and the path along which the most likely tokens are asked for.

        Raises:
            UserError: If the model cannot be reached or fails.
        """
        ...

    def reply(self, question: str, tokens: int) -> tuple[str, bool]:
        """Return the greedy reply to a question, and whether it ended before the limit.

        Raises:
            UserError: If the model cannot be reached or fails.
        """
        ...
