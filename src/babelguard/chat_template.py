"""Reading a chat template: what it is, what it takes, what stands in it. Where the prompt stands in it is the slot's business."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, meta

from babelguard.errors import UserError


def chat_template_of(tokenizer: Any) -> str:
    """The default chat template of a tokenizer, or a `UserError` where it has none."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise UserError(
            f"The tokenizer of {tokenizer.name_or_path or 'this model'} has no chat template, so there is no system "
            "message to defend; choose an instruction-tuned chat model."
        )
    return str(template)


def thinking_switch(template: str) -> str | None:
    """The variable with which a chat template is told not to think, or None where it has none."""
    if "enable_thinking" in template:
        return "enable_thinking"
    return "thinking" if re.search(r"\bthinking is (not )?defined", template) else None


def parsed(template: str) -> tuple[Environment, str]:
    """An environment that reads chat templates, and the template without the tags that only transformers knows."""
    return Environment(extensions=["jinja2.ext.loopcontrols"]), re.sub(
        r"\{%-?\s*(end)?generation\s*-?%\}", "", template
    )


def literals_of(template: str) -> list[str]:
    """The texts that stand in a template's expressions, without their quotation marks."""
    environment, source = parsed(template)
    try:
        found = {value[1:-1] for _, kind, value in environment.lex(source) if kind == "string"}
    except TemplateSyntaxError:
        return []
    plain = {text.encode("ascii", "backslashreplace").decode("unicode-escape") for text in found}
    return sorted(text for text in plain if text)


def inputs_of(template: str) -> tuple[str, ...]:
    """The variables that whoever renders a template may pass in beside the messages: each may carry foreign text."""
    environment, source = parsed(template)
    try:
        found = meta.find_undeclared_variables(environment.parse(source))
    except TemplateSyntaxError:
        found = set()
    ours = {"messages", "add_generation_prompt", "raise_exception", "strftime_now", *environment.globals}
    return tuple(sorted({"tools", "documents", *found} - ours))


def jinja_string(text: str) -> str:
    """A Jinja string literal of any text."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return "'" + escaped + "'"
