"""The address and the key of an endpoint. Both can contain secrets, which are never shown or written."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from babelguard.errors import UserError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
EXAMPLE = "http://127.0.0.1:8000/v1"


def is_url(text: str) -> bool:
    """Whether a text is meant as a URL, valid or not."""
    return _SCHEME.match(text) is not None


@dataclass(frozen=True)
class Address:
    """A URL, split into what is requested and what may be shown.

    Attributes:
        url: The URL without query and fragment. It may contain a user name and a password.
        query: The parameters of the query, which are sent with every request.
        host: Host and port.
        secrets: Parts of the URL that must not be shown.
    """

    url: str = field(repr=False)
    query: dict[str, str] = field(repr=False)
    host: str
    secrets: tuple[str, ...] = field(repr=False)


def read_address(url: str, setting: str) -> Address:
    """Read the URL of an endpoint.

    Args:
        url: The URL up to and including `/v1`.
        setting: Name of the setting, for messages.

    Raises:
        UserError: If it is not an HTTP URL.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        # What stands between the scheme and an @ may be a password.
        shown = re.sub(r"(?<=//)[^/?#]*@", "", url.partition("?")[0])
        raise UserError(f"The `{setting}` '{shown}' is not a URL; use one such as {EXAMPLE}.")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    secrets = [secret for secret in (parts.password, *query.values()) if secret]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
    return Address(
        url=parts._replace(query="", fragment="").geturl(),
        query=query,
        host=host + (f":{parts.port}" if parts.port else ""),
        secrets=tuple(dict.fromkeys([*secrets, *map(unquote, secrets)])),
    )


def read_key(names: Sequence[str]) -> str:
    """Return the key in the first of these environment variables that is set, or ''.

    Raises:
        UserError: If it contains characters that no key contains.
    """
    for name in names:
        key = os.environ.get(name, "").strip()
        if not key.isascii() or not key.isprintable():
            raise UserError(f"The key in {name} contains invalid characters; copy it again.")
        if key:
            return key
    return ""
