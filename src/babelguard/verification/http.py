"""HTTP requests to a model server, also to routes that are not those of OpenAI. Failures are one sentence each."""

from __future__ import annotations

import time
from typing import Any

import httpx

from babelguard.endpoint.address import read_address, read_key
from babelguard.errors import UserError

KEY = "OPENAI_API_KEY"
# Statuses of servers that do not have a route, or do not allow it.
ABSENT = (403, 404, 405, 501)


class Rejected(UserError):
    """The server does not accept one request."""


class Http:
    """Sends requests to a model server.

    Args:
        url: The URL of the server, with or without `/v1`.
        timeout: Seconds to wait for a reply.
        tries: How often a request is sent if the server fails.
        pause: Seconds before it is sent again.

    Raises:
        UserError: If the URL or the key is not valid.
    """

    def __init__(self, url: str, *, timeout: float = 300.0, tries: int = 3, pause: float = 1.0) -> None:
        address, self._key = read_address(url, "url"), read_key((KEY,))
        self.host = address.host
        self._root, self._query = address.url.rstrip("/").removesuffix("/v1"), address.query
        self._secrets = [secret for secret in (self._key, *address.secrets) if secret]
        self._timeout, self._tries, self._pause = timeout, tries, pause
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(headers=headers, timeout=httpx.Timeout(timeout, connect=min(timeout, 20.0)))

    def get(self, path: str) -> Any:
        """Return the JSON at a path such as `/v1/models`. None if the server has no such route."""
        return self._send("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send JSON to a path and return the JSON of the reply. None if the server has no such route.

        Raises:
            UserError: If the server cannot be reached, fails, or does not accept the key; `Rejected` if it only does not
                accept this request.
        """
        return self._send("POST", path, body)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        why = ""
        for number in range(self._tries):
            if number:
                time.sleep(self._pause * 2 ** (number - 1))
            try:
                response = self._client.request(method, self._root + path, params=self._query or None, json=body)
            except httpx.TimeoutException:
                raise UserError(
                    f"The server {self.host} did not reply within {self._timeout:g} seconds; see its log, and run the same "
                    "command again when it is ready."
                ) from None
            except httpx.ConnectError as error:
                raise UserError(
                    f"Cannot connect to {self.host} ({self._short(str(error))}); start the server or check `url`."
                ) from None
            except httpx.RequestError as error:
                why = f"the connection broke off: {self._short(str(error) or type(error).__name__)}"
                continue
            if response.status_code == 429 or response.status_code >= 500:
                why = f"status {response.status_code}: {self._short(response.text)}"
                if response.status_code not in ABSENT:
                    continue
            return self._read(response)
        raise UserError(
            f"The server {self.host} failed {self._tries} times ({why}); see its log, and run the same command again."
        )

    def _read(self, response: httpx.Response) -> Any:
        status = response.status_code
        if status == 401 or (status == 403 and "key" in response.text.lower()):
            what = f"does not accept the key in {KEY}" if self._key else f"requires a key; set {KEY}"
            check = "; check it" if self._key else ""
            raise UserError(f"The server {self.host} {what} (status {status}){check}.")
        if status in ABSENT and "model" not in response.text.lower():
            return None
        if 300 <= status < 400:
            raise UserError(
                f"The server {self.host} redirects to another URL (status {status}); set `url` to that URL."
            )
        if status >= 400:
            raise Rejected(
                f"The server {self.host} rejects a request (status {status}: {self._short(response.text)}); see its log."
            )
        try:
            return response.json()
        except ValueError:
            raise UserError(
                f"The reply of {self.host} is not JSON ({self._short(response.text)}); check `url`."
            ) from None

    def _short(self, text: str) -> str:
        """Return the beginning of a text in one line, without secrets."""
        line = " ".join(text.split())
        for secret in self._secrets:
            line = line.replace(secret, "[key]")
        return line[:160].rstrip(".")
