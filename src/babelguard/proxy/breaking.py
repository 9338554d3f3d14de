"""Break up the placeholders in every string of a request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from babelguard.files.parsing import parse_json, unique_keys
from babelguard.prompt.placeholders import break_up

# Fields whose text is JSON, which engines parse before they render it.
JSON_FIELDS = frozenset({"arguments"})
# The JSON escape of an ASCII character, also if it was escaped again.
_ESCAPE = re.compile(r"\\++u00([0-7][0-9a-fA-F])")
# An escape may stand for the backslash of another one.
_LEVELS = 2


class Breaker:
    r"""Breaks up placeholders, so that the tokenizer of the engine reads them as ordinary text.

    Placeholders are broken up as by the chat template. Two other forms are broken up that can become placeholders later:
    those with JSON escapes, such as `\u003cunused0>`, and strings that are a placeholder without its brackets, such as
    a key `unused0`, because a template may write keys in brackets.

    Args:
        tokens: The placeholder strings.

    Attributes:
        count: The number of placeholders that were broken up.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._tokens = tuple(tokens)
        self._inner = {part for token in self._tokens for part in _inner(token)}
        self.count = 0

    def text(self, text: str) -> str:
        """Break up the placeholders in a text."""
        self.count += self._found(text)
        text = break_up(text, self._tokens)
        plain = text
        for _ in range(_LEVELS if "\\u00" in text else 0):
            plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), plain)
            if number := self._found(plain):
                self.count += number
                text = _ESCAPE.sub(r" \g<0> ", text)
                break
        if (bare := text.strip()) in self._inner:
            self.count += 1
            text = text.replace(bare, f"{bare[0]} {bare[1:]}", 1)
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

    def _found(self, text: str) -> int:
        return sum(text.count(token) for token in self._tokens)

    def _json(self, text: str) -> str:
        """Break up the placeholders in a JSON text. A text that is not JSON is an ordinary one."""
        try:
            value = parse_json(text, pairs=unique_keys)
        except json.JSONDecodeError:
            return self.text(text)
        broken = self.value(value)
        return text if broken == value else json.dumps(broken, ensure_ascii=False)


def _inner(token: str) -> list[str]:
    """Return the parts of a placeholder that contain all of its letters and digits, without the placeholder itself."""
    core = re.sub(r"^\W+|\W+$", "", token)
    start = token.index(core)
    ends = range(start + len(core), len(token) + 1)
    return [part for low in range(start + 1) for high in ends if (part := token[low:high]) != token and len(part) > 1]
