"""Break up the placeholders in every string of a request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from babelguard.files.parsing import parse_json, unique_keys
from babelguard.prompt.placeholders import break_up

# Fields whose text is JSON, which engines parse before they render it.
JSON_FIELDS = frozenset({"arguments"})
# The JSON escape of an ASCII character, also if it was escaped again. A run of backslashes is read only once, because long
# ones would take quadratic time.
_ESCAPE = re.compile(r"(?<!\\)\\++u00([0-7][0-9a-fA-F])")
# An escape may stand for the backslash of another one.
_LEVELS = 2


class Breaker:
    r"""Breaks up placeholders, so that the tokenizer of the engine reads them as ordinary text.

    Placeholders are broken up as by the chat template. Two other forms are broken up that can become placeholders later:
    those with JSON escapes, such as `\u003cunused0>`, and placeholders that lack a bracket at the beginning or the end of
    a string, such as a key `unused0`, because a template may write keys in brackets.

    Args:
        tokens: The placeholder strings.

    Attributes:
        count: The number of placeholders that were broken up.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._tokens = tuple(tokens)
        self._bare = [_bare(token) for token in self._tokens]
        self._shortest = min((len(bare.core) for bare in self._bare), default=0)
        self.count = 0

    def text(self, text: str) -> str:
        """Break up the placeholders in a text."""
        if len(text) < self._shortest:
            return text
        given, text = text, break_up(text, self._tokens)
        self.count += len(text) - len(given)  # each one gets a space
        plain = text
        for _ in range(_LEVELS if "\\u00" in text else 0):
            plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), plain)
            if number := len(break_up(plain, self._tokens)) - len(plain):
                self.count += number
                text = _ESCAPE.sub(r" \g<0> ", text)
                break
        for search in (_at_the_beginning, _at_the_end):
            place = next((place for bare in self._bare if (place := search(text, bare)) is not None), None)
            if place is not None:
                self.count += 1
                text = f"{text[: place + 1]} {text[place + 1 :]}"
        return text

    def value(self, value: Any, field: str = "") -> Any:
        """Break up the placeholders in all strings of a JSON value, including the keys of objects.

        Args:
            value: The value.
            field: The key that it belongs to.

        Raises:
            ValueError: If a text that engines parse as JSON has a key twice or is nested too deeply.
        """
        if isinstance(value, str):
            return self._json(value) if field in JSON_FIELDS else self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.value(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value

    def _json(self, text: str) -> str:
        """Break up the placeholders in a JSON text. A text that is not JSON is an ordinary one."""
        try:
            value = parse_json(text, pairs=unique_keys)
        except json.JSONDecodeError:
            return self.text(text)
        broken = self.value(value)
        return text if broken == value else json.dumps(broken, ensure_ascii=False)


class _Bare(NamedTuple):
    """A placeholder that lacks brackets: its letters and digits, its ends without an opening, its beginnings, and both."""

    core: str
    ends: tuple[str, ...]
    beginnings: tuple[str, ...]
    middles: frozenset[str]


@cache
def _bare(token: str) -> _Bare:
    core = re.sub(r"^\W+|\W+$", "", token)
    start = token.index(core)
    stop = start + len(core)
    middles = frozenset(token[low:high] for low in range(1, start + 1) for high in range(stop, len(token)))
    ends = tuple(token[low:] for low in range(1, start + 1))
    return _Bare(core, ends, tuple(token[:high] for high in range(stop, len(token))), middles)


def _at_the_beginning(text: str, bare: _Bare) -> int | None:
    """Return where a text begins with a placeholder that lacks its opening, or consists of one, or None."""
    if bare.core not in text:
        return None
    inside = text.strip()
    return text.index(inside) if inside in bare.middles or inside.startswith(bare.ends) else None


def _at_the_end(text: str, bare: _Bare) -> int | None:
    """Return where a placeholder without its closing begins at the end of a text, or None."""
    if bare.core not in text:
        return None
    inside = text.rstrip()
    return next((text.rindex(part) for part in bare.beginnings if inside.endswith(part)), None)
