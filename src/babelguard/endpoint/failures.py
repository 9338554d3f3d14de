"""What went wrong with a request, and whether it may succeed later."""

from __future__ import annotations

import email.utils
import json
import time
from dataclasses import dataclass
from typing import Any

# Parts of the errors of content filters, which reject one request and not the key.
_FILTERED = (
    "content_filter",
    "content_policy",
    "content_management_policy",
    "ResponsibleAIPolicyViolation",
    "data_inspection_failed",
    "flagged",
    "moderation",
)
# The client library has its own HTTP library, whose errors are recognised by name.
_HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore", "httpcore2")
_UNREACHABLE = ("ConnectError", "ConnectTimeout", "UnsupportedProtocol", "ProxyError")
# Too many requests, or a server that is starting, overloaded or behind a proxy that does not reach it.
_BUSY = (429, 502, 503, 504, 529)
GARBAGE = "the reply of the endpoint is not a completion"


class RequestFailed(Exception):
    """A request that got no usable answer. The other requests may succeed.

    Attributes:
        why: What went wrong, in one clause.
        status: The HTTP status, if there was one.
        temporary: Whether the failure may pass.
        filtered: Whether the content filter of the endpoint rejected the request.
        away: Whether the endpoint could not be reached, or was too busy, for as long as the client waits.
        tries: Number of times that the request was sent.
    """

    def __init__(
        self,
        why: str,
        *,
        status: int | None = None,
        temporary: bool = False,
        filtered: bool = False,
        away: bool = False,
        tries: int = 1,
    ) -> None:
        super().__init__(why)
        self.why, self.status, self.temporary, self.filtered = why, status, temporary, filtered
        self.away, self.tries = away, tries


@dataclass(frozen=True)
class Failure:
    """A failure of one attempt.

    Attributes:
        why: What went wrong, in one clause.
        status: The HTTP status, if there was one.
        retry: Whether the request is sent again.
        temporary: Whether the failure may pass.
        away: Whether the endpoint cannot be reached or is too busy, so that all requests wait.
        unreachable: Whether no connection could be made.
        filtered: Whether a content filter rejected the request.
        pause: The pause that the endpoint asks for, in seconds.
    """

    why: str
    status: int | None = None
    retry: bool = False
    temporary: bool = False
    away: bool = False
    unreachable: bool = False
    filtered: bool = False
    pause: float | None = None


def failure_of(error: Exception, timeout: float) -> Failure:
    """Describe an error of the client library, or of reading its response.

    Args:
        error: The error.
        timeout: The time-out of the request in seconds, for the message.
    """
    import openai

    if isinstance(error, openai.APIConnectionError):  # also time-outs
        cause = type(error.__cause__).__name__
        if cause in _UNREACHABLE:
            text = str(error.__cause__ or error).rstrip(".")
            return Failure(text, retry=True, temporary=True, away=True, unreachable=True)
        if isinstance(error, openai.APITimeoutError):
            return Failure(f"no answer of the endpoint within {timeout:g} seconds", retry=True, temporary=True)
        text = f"the connection to the endpoint failed ({error.__cause__ or error})"
        return Failure(text, retry=True, temporary=True)
    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        filtered = status in (400, 403) and is_filtered(error)
        temporary = status in (408, 409, 425, 429) or status >= 500
        return Failure(
            f"the endpoint returned status {status}: {_message(error)}".rstrip(": "),
            status=status,
            retry=temporary,
            temporary=temporary,
            away=status in _BUSY,
            filtered=filtered,
            pause=_retry_after(error.response.headers.get("retry-after", "")),
        )
    if type(error).__module__.partition(".")[0] in _HTTP_LIBRARIES:  # while a stream is read
        return Failure(f"the connection to the endpoint failed ({error or type(error).__name__})", temporary=True)
    if isinstance(error, openai.OpenAIError | json.JSONDecodeError | UnicodeDecodeError | RecursionError | Garbage):
        return Failure(GARBAGE, retry=True)
    raise error


class Garbage(ValueError):
    """A response that is not what was asked for. The client library does not check it."""


def is_filtered(error: Any) -> bool:
    """Whether a status error comes from a content filter."""
    text = f"{error.body} {error.message}"
    return any(word in text for word in _FILTERED)


def _message(error: Any) -> str:
    """Return the message of a status error, without the status that the client library puts in front of it."""
    body = error.body
    inner = body.get("error", body) if isinstance(body, dict) else body
    found = inner.get("message", inner) if isinstance(inner, dict) else inner
    return str(found if found not in (None, "", {}) else error.response.text)


def _retry_after(value: str) -> float | None:
    """Return the seconds to wait that an endpoint asks for, as a number or as a date."""
    try:
        seconds = float(value)
        return seconds if 0 <= seconds < float("inf") else None
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
