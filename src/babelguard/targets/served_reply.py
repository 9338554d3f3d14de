"""Read the reply of an OpenAI-compatible server."""

from __future__ import annotations

from typing import Any, NamedTuple

from babelguard.judges.base import FILTERED

# Marks that the thoughts are logged with, as a local model would write them. Judges do not see them.
THINK, END_OF_THOUGHT = "<think>", "</think>"


class ServedReply(NamedTuple):
    """A reply of a server.

    Attributes:
        text: The reply, with the thought of a reasoning model in front of it.
        finished: Whether it ended before the token limit.
        model: The name that the server gives to the model, or None.
        fingerprint: The `system_fingerprint` of the server, or None.
    """

    text: str
    finished: bool
    model: str | None
    fingerprint: str | None


def read_reply(response: Any) -> ServedReply:
    """Read a chat completion.

    Servers with a parser for thoughts return them in a field of their own. A request that the content filter of the server
    refuses has the reply `FILTERED`.

    Raises:
        ValueError, TypeError, LookupError, AttributeError: If it is not a chat completion.
    """
    choice = response.choices[0]
    if choice.finish_reason == "content_filter":
        text, finished = FILTERED, True
    else:
        message, finished = choice.message, choice.finish_reason != "length"
        content = text_of(message.content) or text_of(getattr(message, "refusal", None))
        text = with_thought(thought_of(message), content, finished)
    return ServedReply(text, finished, name_of(response, "model"), name_of(response, "system_fingerprint"))


def thought_of(message: Any) -> str:
    """Return the thought of a message, or of a part of a streamed one."""
    return text_of(getattr(message, "reasoning_content", None)) or text_of(getattr(message, "reasoning", None))


def text_of(content: Any) -> str:
    """Return a content as text. It can also be a list of typed parts, of which the texts are joined.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(content, list):
        found = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if not found or not all(isinstance(text, str) for text in found):
            raise TypeError("no text")
        return "".join(map(str, found))
    if content is not None and not isinstance(content, str):
        raise TypeError("not a text")
    return content or ""


def with_thought(thought: str, content: str, finished: bool) -> str:
    """Put a thought in front of a reply, between marks. The thought of a reply that was cut off may not have ended."""
    if not thought:
        return content
    for mark in (THINK, END_OF_THOUGHT):  # a quoted mark would end the thought
        thought = thought.replace(mark, "")
    return THINK + thought + (END_OF_THOUGHT + content if content or finished else "")


def name_of(response: Any, field: str) -> str | None:
    """Return a field of a response if it holds a name."""
    found = getattr(response, field, None)
    return found if isinstance(found, str) and found else None
