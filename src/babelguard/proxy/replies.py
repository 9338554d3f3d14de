"""Pass on the replies of the engine, with the name of the defended model and without secrets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from babelguard.proxy.refusal import Refused

_SECRET = "[key]"


class Replies:
    """Rewrites the replies of the engine.

    Args:
        name: The name of the defended model.
        upstream_name: Its name at the engine.
        secrets: Keys, which are removed from errors.
    """

    def __init__(self, name: str, upstream_name: str, secrets: tuple[str, ...]) -> None:
        self._name, self._upstream_name = name, upstream_name
        self._secrets = tuple(secret for secret in secrets if secret)

    def whole(self, body: bytes) -> bytes:
        """Return a reply that is not streamed.

        Raises:
            Refused: If it is not a JSON object.
        """
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise Refused(502, "The engine did not reply with a JSON object; check the engine.")
        return self._named(value)

    def error(self, body: bytes) -> bytes:
        """Return the body of an error without keys, and with the name of the defended model."""
        text = body.decode("utf-8", "replace")
        for secret in self._secrets:
            text = text.replace(secret, _SECRET)
        # Not within longer words.
        for quote in "'\"`":
            text = text.replace(f"{quote}{self._upstream_name}{quote}", f"{quote}{self._name}{quote}")
        return text.encode("utf-8")

    async def stream(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the events of a stream as they arrive.

        Args:
            pieces: The bytes from the engine, divided anywhere.
        """
        rest = b""
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            if lines:
                yield b"".join(self.line(line) + b"\n" for line in lines)
        if rest:
            yield self.line(rest)

    def line(self, line: bytes) -> bytes:
        """Return a line of a stream. Lines other than data in JSON are not changed."""
        field, _, data = line.partition(b":")
        if field != b"data" or not data.strip().startswith(b"{"):
            return line
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return line
        if "error" in value:
            return b"data: " + self.error(data.strip())
        return b"data: " + self._named(value) + (b"\r" if line.endswith(b"\r") else b"")

    def _named(self, value: dict[str, Any]) -> bytes:
        if "model" in value:
            value["model"] = self._name
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        except UnicodeEncodeError:  # half of a character, which the next event completes
            return json.dumps(value, separators=(",", ":")).encode("ascii")
