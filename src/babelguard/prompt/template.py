"""Read the chat templates of a tokenizer: their names, the thinking switch, and the clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_FIXED: ContextVar[bool] = ContextVar("babelguard_fixed_clock", default=False)
# Replaces the clock of a template, so that it writes the same date every day. Years, months and days stay numbers, because
# templates calculate with them.
_CODES = {
    "%Y": "2000",
    "%y": "00",
    "%m": "01",
    "%d": "01",
    "%B": "January",
    "%b": "Jan",
    "%A": "Saturday",
    "%a": "Sat",
    "%H": "00",
    "%M": "00",
    "%S": "00",
    "%F": "2000-01-01",
}
_FIXED_CLOCK = (
    "{%- macro strftime_now(format) -%}{{- format"
    + "".join(f".replace('{code}', '{text}')" for code, text in _CODES.items())
    + " -}}{%- endmacro -%}"
)


def thinking_switch(template: str) -> str | None:
    """Return the variable that turns thinking off in a chat template, or None."""
    if "enable_thinking" in template:
        return "enable_thinking"
    return "thinking" if re.search(r"\bthinking is (not )?defined", template) else None


@contextmanager
def fixed_clock() -> Iterator[None]:
    """Let chat templates write the same date every day within a `with` block, for example in the keys of logged replies."""
    token = _FIXED.set(True)
    try:
        yield
    finally:
        _FIXED.reset(token)


def with_clock(template: str) -> str:
    """Return a chat template that sees the clock of the moment; see `fixed_clock`."""
    return _FIXED_CLOCK + template if _FIXED.get() and reads_clock(template) else template


def reads_clock(template: str) -> bool:
    """Whether a chat template can write the date."""
    return "strftime_now" in template


def templates_of(tokenizer: Any) -> dict[str, str]:
    """Return the chat templates of a tokenizer by name. A single template is called `default`."""
    given = tokenizer.chat_template
    return dict(given) if isinstance(given, dict) else {"default": str(given)}
