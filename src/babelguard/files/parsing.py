"""Parse JSON and TOML. Whatever the parsers raise becomes one `ValueError` with a short reason."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

# Deeper values make recursive code fail, here and in libraries.
MAX_DEPTH = 100
# Python refuses to print integers of more than 4,300 digits.
MAX_BITS = 10_000
_TOO_LARGE = "a number is too long or lists are nested too deeply"


def parse_json(
    text: str, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None, surrogates: bool = False
) -> Any:
    """Parse a JSON value.

    Args:
        text: The text.
        pairs: Builds an object from its keys and values; default: dict.
        surrogates: Accept lone surrogates, because the caller reports where they are.

    Raises:
        json.JSONDecodeError: If it is not valid JSON.
        ValueError: If a number is too long, the value is nested too deeply, or a text contains a lone surrogate.
    """
    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise ValueError(_TOO_LARGE) from None
    except ValueError as error:
        raise ValueError(_TOO_LARGE if "integer string conversion" in str(error) else str(error)) from None
    check_value(value, surrogates=surrogates)
    return value


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object of keys that occur once; for `parse_json`.

    Raises:
        ValueError: If a key occurs twice. A dict would silently keep the last value.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)}' occurs twice")
    return found


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML document.

    Raises:
        ValueError: If it is not valid TOML, a number is too long, or a value is nested too deeply.
    """
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_LARGE) from None
    except ValueError as error:
        # The parser of dates raises other errors than TOMLDecodeError.
        what = " ".join(str(error).split())
        raise ValueError(_TOO_LARGE if "integer string conversion" in what else what) from None
    check_value(value)
    return value


def check_value(value: Any, *, surrogates: bool = False) -> None:
    """Check that a parsed value can be handled by recursive code and written again.

    Raises:
        ValueError: If a number is too long, the value is nested too deeply, or a text contains a lone surrogate.
    """
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if not surrogates and not item.isascii() and any("\ud800" <= char <= "\udfff" for char in item):
                    raise ValueError("a text contains a lone surrogate")
            elif isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, int) and item.bit_length() > MAX_BITS:
                raise ValueError(_TOO_LARGE)
        if not below:
            return
        level = below
    raise ValueError(_TOO_LARGE)


def json_fault(error: ValueError) -> str:
    """Describe why a text is not valid JSON, in one clause."""
    if isinstance(error, json.JSONDecodeError):
        return f"this is not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}"
    return f"this is not valid JSON: {error}"
