"""What a judge sends to a model, and what comes back. Both ways to ask a model have the same interface."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

# Markers of the chat formats and of the guards' templates. In a question or reply they would end the text to be judged.
_MARKERS = re.compile(
    r"<\|[^|<>]{0,40}\|>|<(?:start_of_turn|end_of_turn|bos|eos|s|/s)>|\[/?INST\]|<(?:BEGIN|END) [A-Z ]{1,40}>"
)


class Form(NamedTuple):
    """The form of the requests of a guard.

    Attributes:
        max_tokens: Maximum length of an answer.
        header: Whether the chat template is asked to add the header of the answer. Some guards' templates always do.
        markers: Whether special tokens are kept in the answer, for transformers.
        choices: Two words of which the answer is one. The answer then has the probability of the first one. The request
            is a single message, which is sent as it is, without a chat template.
    """

    max_tokens: int
    header: bool = True
    markers: bool = False
    choices: tuple[str, str] | None = None


class Message(NamedTuple):
    """A message of a chat."""

    role: str
    content: str


Request = tuple[Message, ...]


class Answer(NamedTuple):
    """An answer of a model.

    Attributes:
        text: Its text, without the thoughts of reasoning models that the endpoint separates.
        finished: False if it was cut off at the token limit.
        probability: Probability of the first one of two choices, if known.
        failure: Why there is no answer; '' if there is one.
        temporary: Whether the failure may pass, such as a time-out.
    """

    text: str = ""
    finished: bool = True
    probability: float | None = None
    failure: str = ""
    temporary: bool = False


class Asker(Protocol):
    """A way to ask a model."""

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request, in the same order.

        Raises:
            UserError: If the model cannot be asked at all.
        """
        ...


def plain(text: str) -> str:
    """Remove markers that a template would take for its own, and replace what is not valid Unicode."""
    while (cleaned := _MARKERS.sub(" ", text)) != text:
        text = cleaned
    return text.encode("utf-8", "replace").decode("utf-8")


def choose(first: float, second: float) -> Answer:
    """Return the answer to a choice between two words of which the model gave the probabilities."""
    if not first + second >= 0.5:  # also true if one of them is not a number
        return Answer(failure="the model chose neither of the two possible answers")
    return Answer(probability=first / (first + second))
