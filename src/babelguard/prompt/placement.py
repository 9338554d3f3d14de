"""Find out what a chat template does with system texts and with lists of text parts."""

from __future__ import annotations

import re
from typing import Any, Literal

from babelguard.errors import UserError
from babelguard.models.checks import chat_template_of
from babelguard.prompt.template import thinking_switch, with_clock

Placement = Literal["system", "folded", "user"]
Messages = list[dict[str, Any]]

SENTINEL = "SYSTEMSENTINELTEXT"
QUESTION = "QUESTIONSENTINELTEXT"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Report the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city"}},
            "required": ["city"],
        },
    },
}
DOCUMENT = {"title": "Bread", "text": "Bread needs yeast.", "contents": "Bread needs yeast."}
# Named templates may only accept chats with tools or documents.
SITUATIONS: tuple[dict[str, Any], ...] = ({}, {"tools": [TOOL]}, {"documents": [DOCUMENT]})
_QUESTION: Messages = [{"role": "user", "content": QUESTION}]


def find_placement(tokenizer: Any, template: str | None = None) -> tuple[Placement, str]:
    """Find the position of a system message in a chat template, and the template's built-in system text.

    Args:
        tokenizer: The tokenizer.
        template: One of its chat templates. The default one if None.

    Returns:
        The placement (see `babelguard.prompt.slot.Slot`), and the built-in system text as of now ('' if there is none).

    Raises:
        UserError: If the template cannot render a single user message, or takes its text only as a list of parts.
    """
    source = chat_template_of(tokenizer) if template is None else template
    error: Exception | None = None
    for situation in SITUATIONS:
        try:
            bare = _render(tokenizer, source, _QUESTION, situation)
            break
        except Exception as caught:  # a template is a program and can raise any error
            error = error or caught
    else:
        reason = " ".join(str(error).split())
        raise UserError(
            f"The chat template of {tokenizer.name_or_path or 'this model'} cannot render a single user message "
            f"({reason}); choose another model or mend its chat template."
        ) from error
    parts: Messages = [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    if QUESTION not in bare and _writes(tokenizer, source, parts, situation):
        raise UserError(
            f"The chat template of {tokenizer.name_or_path or 'this model'} does not write a text that is not in a list of "
            "parts; change the template so that it also takes strings, or choose another model."
        )
    try:
        text = _render(tokenizer, source, [{"role": "system", "content": SENTINEL}, *_QUESTION], situation)
    except Exception:  # templates without a system role raise TemplateError, or anything else
        return "user", ""
    # Some templates write system texts in lower case.
    head, *rest = re.split(SENTINEL, text, maxsplit=1, flags=re.IGNORECASE)
    if not rest:
        return "user", ""
    tail = rest[0]
    between = tail[: tail.find(QUESTION)] if QUESTION in tail else ""
    built_in = ""
    if bare.startswith(head) and bare.endswith(tail) and len(bare) > len(head) + len(tail):
        built_in = bare[len(head) : len(bare) - len(tail)]
    # A template folds the system text into the user turn if only white space separates it from the question.
    return ("folded" if not between.strip() else "system"), built_in


def joined_roles(tokenizer: Any, template: str) -> tuple[str, ...]:
    """Return the roles from which a chat template takes a text, but not a list of text parts.

    It raises an error for the list, loses a part of it, or, except for the results of tools, prints it as a Python list.
    """
    roles = ("system", "developer", "user", "assistant", "tool")
    return tuple(role for role in roles if _must_join(tokenizer, template, role))


def refusing_situations(tokenizer: Any, template: str) -> tuple[str, ...]:
    """Return in which chats a template that takes system messages refuses them; see `babelguard.prompt.preamble.wrap`."""
    pictured: Messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    system = {"role": "system", "content": SENTINEL}
    reply_first: Messages = [{"role": "assistant", "content": SENTINEL}, *_QUESTION]
    chats = {
        "pictures": (pictured, {}),
        "tools": (_QUESTION, SITUATIONS[1]),
        "documents": (_QUESTION, SITUATIONS[2]),
        "systems": ([*_QUESTION, reply_first[0], system, *_QUESTION], {}),
        "reply first": (reply_first, {}),
    }
    return tuple(
        name
        for name, (messages, situation) in chats.items()
        if renders(tokenizer, template, messages, situation)
        and not renders(tokenizer, template, [system, *messages], situation)
    )


def renders(tokenizer: Any, template: str, messages: Messages, situation: dict[str, Any]) -> bool:
    """Return whether a chat template accepts a chat in one of the `SITUATIONS`."""
    try:
        _render(tokenizer, template, messages, situation)
    except Exception:  # a template is a program and can raise any error
        return False
    return True


def _writes(tokenizer: Any, template: str, messages: Messages, situation: dict[str, Any]) -> bool:
    """Return whether a chat template writes the question of a chat."""
    try:
        return QUESTION in _render(tokenizer, template, messages, situation)
    except Exception:  # a template is a program and can raise any error
        return False


def _must_join(tokenizer: Any, template: str, role: str) -> bool:
    texts = [SENTINEL, SENTINEL[::-1]]
    parts = [{"type": "text", "text": text} for text in texts]
    for situation in SITUATIONS:
        try:
            plain = _render(tokenizer, template, _chat(role, " ".join(texts)), situation)
        except Exception:  # the template refuses the role, or needs tools or documents
            continue
        if not all(text in plain for text in texts):
            return False
        try:
            listed = _render(tokenizer, template, _chat(role, parts), situation)
        except Exception:
            return True
        found = [listed.find(text) for text in texts]
        return found[0] < 0 or found[1] < found[0] or (role != "tool" and "'type'" in listed)
    return False


def _chat(role: str, content: Any) -> Messages:
    """Return a chat with one message of the role."""
    message = {"role": role, "content": content}
    if role in ("system", "developer"):
        return [message, *_QUESTION]
    if role == "user":
        return [message]
    if role == "assistant":
        return [*_QUESTION, message, *_QUESTION]
    return [*_QUESTION, tool_call(), {**message, "name": "weather", "tool_call_id": "abcdefghi"}]


def tool_call() -> dict[str, Any]:
    """Return an assistant's message that calls a tool."""
    function = {"name": "weather", "arguments": {"city": "Oslo"}}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "id": "abcdefghi", "function": function}],
    }


def _render(tokenizer: Any, template: str, messages: Messages, situation: dict[str, Any]) -> str:
    switch = thinking_switch(template)
    switches = {switch: False} if switch else {}
    text = tokenizer.apply_chat_template(
        messages,
        chat_template=with_clock(template),
        tokenize=False,
        add_generation_prompt=True,
        **situation,
        **switches,
    )
    return str(text)
