"""The Jinja text around a model's own chat template, which inserts the soft prompt; see preamble.jinja."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from jinja2 import Environment, StrictUndefined, Template

SEPARATOR = "\n\n"
UNDEFENDED = (
    "This chat has no place for the safety prompt in front of what the user wrote, so the model would be undefended; "
    "change the chat, or pass allow_undefended=True."
)
UNREADABLE = (
    "This chat template has no system role, and the system message and the first user message of this chat cannot be joined, "
    "because one of them is neither a text nor a list of texts and typed parts; change them, or leave the system message out."
)
# The tags of transformers around the texts of the assistant, with their white space control. Comments and raw text, which
# may contain them, are matched first.
_GENERATION = re.compile(
    r"\{#.*?#\}|\{%[-+]?\s*raw\s*-?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}"
    r"|\{%(?P<before>[-+]?)\s*(?:end)?generation\s*(?P<after>[-+]?)%\}",
    re.DOTALL,
)
_SOURCE = "babelguardsource"


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


def wrap(
    source: str,
    *,
    soft: str,
    tokens: tuple[str, ...],
    placement: str,
    joined: tuple[str, ...] = (),
    switch: str | None = None,
    refusing: tuple[str, ...] = (),
) -> str:
    """Return a chat template that renders as `source` does, with the prompt inserted.

    Args:
        source: The model's own chat template.
        soft: The prompt as text.
        tokens: The placeholder strings of a soft prompt, in order, whose count is checked. Empty for a written prompt.
        placement: `system`, `folded` or `user`; see `babelguard.prompt.slot.Slot`.
        joined: Roles from which the template does not take a list of text parts.
        switch: The variable that turns thinking off, if the template has one.
        refusing: What a chat may not have if a system message is added: `pictures`, `tools`, `documents`, other system
            messages (`systems`), or a reply in front of all questions (`reply first`).
    """
    # Jinja drops one line break at the end of a file. At the beginning, it would drop one after the tag of the macro.
    unmarked = re.sub(r"(\r\n|\r|\n)\Z", "", source)
    body = _GENERATION.sub(_marked, unmarked)
    values: dict[str, Any] = {
        "source": _SOURCE,
        "soft": jinja_string(soft),
        "tokens": jinja_list(tokens),
        "gap": jinja_string(SEPARATOR),
        "placement": placement,
        "joined": jinja_list(joined) if joined else "",
        "switch": switch,
        "generation": body != unmarked,
        "check": bool(tokens),
        "refusal": _refuse(UNDEFENDED),
        "unreadable": _refuse(UNREADABLE),
        "places": _places("system", "user"),
        "refusing": refusing,
    }
    around = "".join(line.strip(" ") for line in _template().render(values).split("\n"))
    # The macro of the model's template is in front of all texts of the prompt, which may contain the same word.
    return around.replace(_SOURCE, ("\n" if body[:1].isspace() else "") + body, 1)


def _marked(tag: re.Match[str]) -> str:
    """Return the text that stands for a tag in the macro of the model's template."""
    if tag["before"] is None:
        return tag[0]
    return "{%" + tag["before"] + " if true %}{{ bg_generation.mark }}{% endif " + tag["after"] + "%}"


def lenient(template: str) -> str:
    """Return the chat template of `wrap` without its refusal of chats."""
    return template.replace(_refuse(UNDEFENDED), "").replace(_refuse(UNREADABLE), "")


def limited(template: str, *places: Literal["user"]) -> str:
    """Return the chat template of `wrap`, which only looks for the given places of the prompt.

    Looking for a place changes the chat, and the model's template may refuse the changed chat. Without places, the template
    fails only if the model's own template does, or because the chat is undefended.
    """
    return template.replace(_places("system", "user"), _places(*places))


def _places(*places: str) -> str:
    # A statement and not a variable of the template, because servers let their users set variables.
    return "{%- set bg.places = " + jinja_list(places) + " -%}"


def _refuse(sentence: str) -> str:
    # As in _places, this is not a variable of the template.
    return "{{- raise_exception(" + jinja_string(sentence) + ") -}}"


def jinja_string(text: str) -> str:
    """Format text as a Jinja string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return "'" + escaped + "'"


def jinja_list(texts: tuple[str, ...]) -> str:
    """Format texts as a Jinja list of string literals."""
    return "[" + ", ".join(map(jinja_string, texts)) + "]"
