"""The settings of the proxy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from babelguard.errors import UserError

# Environment variables, so that keys are neither on the command line nor in a file.
CLIENT_KEY = "BABELGUARD_PROXY_KEY"
UPSTREAM_KEY = "BABELGUARD_UPSTREAM_KEY"


@dataclass(frozen=True)
class Settings:
    """How requests are passed on.

    Attributes:
        upstream: URL of the engine, without `/v1`.
        timeout: Seconds without data from the engine before a request is given up.
        connect_timeout: Seconds before an attempt to connect to the engine is given up.
        body_timeout: Seconds that a client has to send its request.
        max_body: Largest body of a request in bytes.
        metrics: Whether `/metrics` is served.
        client_key: The key that clients must send; empty: none.
        upstream_key: The key that is sent to the engine in place of the client's; empty: the client's, if `client_key` is
            empty, or else none.
    """

    upstream: str
    timeout: float = 600.0
    connect_timeout: float = 10.0
    body_timeout: float = 60.0
    max_body: int = 4 * 2**20
    metrics: bool = False
    client_key: str = ""
    upstream_key: str = ""


def upstream_url(given: str) -> str:
    """Return the URL of an engine without `/v1`.

    Raises:
        UserError: If it is not an HTTP URL, or has a user name, a query or a fragment.
    """
    try:
        parts = urlsplit(given)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not given.isascii() or not given.isprintable() or " " in given:
        raise UserError(f"The `upstream` '{given}' is not a URL; use one such as http://127.0.0.1:8000.")
    if "@" in parts.netloc:
        raise UserError(f"The `upstream` contains a user name; leave it out and set a key in {UPSTREAM_KEY}.")
    if parts.query or parts.fragment:
        raise UserError(f"The `upstream` '{given}' has a query or a fragment; give only the beginning of the URL.")
    return given.rstrip("/").removesuffix("/v1").rstrip("/")


def key_from(variable: str) -> str:
    """Return the key in an environment variable, or ''.

    Raises:
        UserError: If it contains characters that a header cannot have.
    """
    key = os.environ.get(variable, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"The key in {variable} contains invalid characters; copy it again.")
    return key
