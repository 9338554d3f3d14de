"""Read a chat template: its thinking switch, its variables and its string literals."""

from __future__ import annotations

import re

from jinja2 import Environment, TemplateSyntaxError, meta


def thinking_switch(template: str) -> str | None:
    """Return the variable that turns thinking off in a chat template, or None."""
    if "enable_thinking" in template:
        return "enable_thinking"
    return "thinking" if re.search(r"\bthinking is (not )?defined", template) else None


def parsed(template: str) -> tuple[Environment, str]:
    """Return a Jinja environment and the template without tags that only transformers supports."""
    return Environment(extensions=["jinja2.ext.loopcontrols"]), re.sub(
        r"\{%-?\s*(end)?generation\s*-?%\}", "", template
    )


def literals_of(template: str) -> list[str]:
    """Return the string literals in a template's expressions, without quotation marks."""
    environment, source = parsed(template)
    try:
        found = {value[1:-1] for _, kind, value in environment.lex(source) if kind == "string"}
    except TemplateSyntaxError:
        return []
    plain = {text.encode("ascii", "backslashreplace").decode("unicode-escape") for text in found}
    return sorted(text for text in plain if text)


def inputs_of(template: str) -> tuple[str, ...]:
    """Return the variables besides `messages` that a caller can pass to a template. Each may contain untrusted text."""
    environment, source = parsed(template)
    try:
        found = meta.find_undeclared_variables(environment.parse(source))
    except TemplateSyntaxError:
        found = set()
    ours = {"messages", "add_generation_prompt", "raise_exception", "strftime_now", *environment.globals}
    return tuple(sorted({"tools", "documents", *found} - ours))


def jinja_string(text: str) -> str:
    """Format text as a Jinja string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return "'" + escaped + "'"
