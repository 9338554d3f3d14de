"""The error of a request that is not forwarded, in the form of the OpenAI protocol."""

from __future__ import annotations

from typing import Any

# The type of the error, by status.
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


class Refused(Exception):
    """A request is answered by the proxy and not by the engine.

    Attributes:
        status: The HTTP status.
        sentence: What is wrong and what to do, in one sentence.
        field: The field of the request that is the reason.
    """

    def __init__(self, status: int, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.field = status, sentence, field

    def body(self) -> dict[str, Any]:
        """Return the error as the OpenAI protocol writes it."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.sentence, "type": kind, "param": self.field, "code": self.status}}
