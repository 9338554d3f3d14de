"""The Jinja text in front of a model's own chat template, which inserts the soft prompt; see preamble.jinja."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from babelguard.prompt.template import jinja_string

SEPARATOR = "\n\n"


@cache
def _template() -> Template:
    # The result is itself a Jinja template, so this first pass uses other delimiters.
    environment = Environment(
        undefined=StrictUndefined,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(files("babelguard.prompt").joinpath("preamble.jinja").read_text("utf-8"))


def preamble(
    tokens: tuple[str, ...],
    placement: str,
    default_system: str,
    switch: str | None = None,
    inputs: tuple[str, ...] = ("documents", "tools"),
) -> str:
    """Fill in the preamble.

    It rebuilds `messages` and every other input of the template. Placeholder strings written by users, documents or
    tools are broken up, so that no text can reach the rows of the soft prompt. Then the soft prompt is put in front of the
    system text.

    Args:
        tokens: The placeholder strings, in order.
        placement: `system`, `folded` or `user`; see `babelguard.prompt.slot.Slot`.
        default_system: The template's built-in system text, which is kept after the prompt.
        switch: The variable that turns thinking off, if the template has one.
        inputs: Variables besides `messages` that a caller can pass to the template.
    """
    prefixes = shared_prefixes(tokens)
    values: dict[str, Any] = {
        "placement": placement,
        "switch": switch,
        "inputs": inputs,
        "soft": jinja_string("".join(tokens)),
        "gap": jinja_string(SEPARATOR),
        "default_system": jinja_string(default_system),
        "guard": guard(prefixes),
        "rebuilt": " or ".join(f"{jinja_string(p)} in bg.joined" for p in prefixes),
        "dropped": "".join(f".replace({jinja_string(first)}, '')" for first in sorted({p[0] for p in prefixes})),
    }
    return "".join(line.strip() for line in _template().render(values).splitlines())


def guard(prefixes: tuple[str, ...]) -> str:
    """Return Jinja filters that insert a space into every placeholder in a text.

    The space goes into the prefix shared by all placeholders. It cannot create another placeholder, whatever the
    surrounding text is.
    """
    return "".join(f".replace({jinja_string(p)}, {jinja_string(p[0] + ' ' + p[1:])})" for p in prefixes)


def shared_prefixes(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Return the part of each placeholder before its number, without duplicates."""
    return tuple(dict.fromkeys(re.split(r"\d", token, maxsplit=1)[0] for token in tokens))
