"""Who may use the proxy, and what is read from a request: its headers and its body within the limits."""

from __future__ import annotations

import asyncio
import hmac

from starlette.requests import Request

from babelguard.proxy.refusal import Refused
from babelguard.proxy.settings import Settings


def authorization(request: Request, settings: Settings) -> str | None:
    """Check the key of a client, and return the header Authorization for the engine.

    Raises:
        Refused: If the key is missing or wrong, or the header is given twice or cannot be passed on.
    """
    given = request.headers.getlist("authorization")
    if len(given) > 1:
        raise Refused(400, "The header Authorization is given twice; send it once.")
    header = given[0] if given else None
    if settings.client_key:
        expected = f"Bearer {settings.client_key}".encode()
        if not hmac.compare_digest((header or "").encode("utf-8"), expected):
            raise Refused(401, "The key is missing or wrong; send it in the header Authorization.")
    if settings.upstream_key:
        return f"Bearer {settings.upstream_key}"
    if settings.client_key:
        return None
    if header is not None and not (header.isascii() and header.isprintable()):
        raise Refused(400, "The header Authorization contains invalid characters; correct it.")
    return header


async def read_body(request: Request, settings: Settings) -> bytes:
    """Read the body of a request.

    Raises:
        Refused: If it is not plain JSON, is too large or arrives too slowly.
        ClientDisconnect: If the client hangs up.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refused(415, "A compressed body is not read; send it without Content-Encoding.")
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if kind.strip() != "application/json" or parameters.strip().replace('"', "") not in ("", "charset=utf-8"):
        raise Refused(415, "The body must be JSON in UTF-8; send Content-Type: application/json.")
    size = request.headers.get("content-length", "0")
    too_large = Refused(413, f"The body is larger than {settings.max_body} bytes; send a shorter chat.")
    if size.isdecimal() and int(size[:20]) > settings.max_body:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout):
            async for piece in request.stream():
                body += piece
                if len(body) > settings.max_body:
                    raise too_large
    except TimeoutError:
        raise Refused(
            408, f"The body did not arrive within {settings.body_timeout:g} seconds; send it again."
        ) from None
    return bytes(body)
