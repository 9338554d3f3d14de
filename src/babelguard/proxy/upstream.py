"""The connection to the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from babelguard.proxy.refusal import Refused
from babelguard.proxy.settings import Settings

# Engines close idle connections after 5 seconds, so they are not used again shortly before.
KEEP_ALIVE = 2.0
PROBE_TIMEOUT = 5.0


class Upstream:
    """Sends requests to an engine.

    Cookies are not kept, because they would be sent with the requests of other clients. Proxies and logins in the
    environment are ignored.

    Args:
        settings: The settings.
        transport: Replaces the network, for tests.
    """

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(
            base_url=settings.upstream,
            transport=transport,
            timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEP_ALIVE),
            headers={"Accept-Encoding": "identity", "User-Agent": "babelguard-proxy"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,
        )

    @asynccontextmanager
    async def chat(self, body: bytes, authorization: str | None) -> AsyncIterator[httpx.Response]:
        """Send a chat. The request is cancelled at the end of the `with` block.

        Args:
            body: The body.
            authorization: The value of the header Authorization.

        Yields:
            The response, whose body was not read yet.

        Raises:
            Refused: If the engine cannot be reached or does not answer in time, also while its body is read.
        """
        headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
        try:
            async with self._client.stream("POST", "/v1/chat/completions", content=body, headers=headers) as response:
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise Refused(502, "The engine cannot be reached; try again later.") from None
        except httpx.TimeoutException:
            seconds = f"{self._settings.timeout:g}"
            raise Refused(504, f"The engine sent nothing for {seconds} seconds; try again later.") from None
        except httpx.HTTPError:
            raise Refused(502, "The connection to the engine failed; try again later.") from None

    async def models(self, authorization: str | None) -> list[str]:
        """Return the names of the models of the engine.

        Raises:
            Refused: If the engine cannot be reached or does not list models.
        """
        headers = {"Authorization": authorization} if authorization else {}
        try:
            response = await self._client.get("/v1/models", headers=headers, timeout=PROBE_TIMEOUT)
            response.raise_for_status()
            listed: Any = response.json()
            return [str(one["id"]) for one in listed["data"]]
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise Refused(503, f"The engine returns status {status} for its list of models; check it.") from None
        except httpx.HTTPError:
            raise Refused(503, "The engine cannot be reached; start it or try again later.") from None
        except (ValueError, LookupError, TypeError, RecursionError):
            raise Refused(503, "The engine does not list its models; check it.") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
