"""The shapes of chats that are tried when a prompt is installed, and whether each is defended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from babelguard.prompt.placement import DOCUMENT, SITUATIONS, TOOL, Messages, tool_call
from babelguard.prompt.template import templates_of, thinking_switch

State = Literal["defended", "refused by the template", "not defendable"]
STATES: tuple[State, ...] = ("defended", "refused by the template", "not defendable")


class Shape(NamedTuple):
    """A kind of chat.

    Attributes:
        messages: The chat.
        settings: Arguments of `apply_chat_template`.
    """

    messages: Messages
    settings: dict[str, Any]


def _said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


_REPLY: dict[str, Any] = {"add_generation_prompt": True}
_SYSTEM, _ASK = _said("system", "Be brief."), _said("user", "How do I bake bread?")
_ANSWER, _MORE = _said("assistant", "Knead the dough."), _said("user", "And then?")
_RESULT = {"role": "tool", "name": "weather", "tool_call_id": "abcdefghi", "content": "It rains."}
_IMAGE = {"type": "image", "url": "bread.png"}

SHAPES: dict[str, Shape] = {
    "one question": Shape([_ASK], _REPLY),
    "system message": Shape([_SYSTEM, _ASK], _REPLY),
    "several turns": Shape([_SYSTEM, _ASK, _ANSWER, _MORE], _REPLY),
    "prefilled answer": Shape([_SYSTEM, _ASK, _ANSWER], {"continue_final_message": True}),
    "finished answer": Shape([_SYSTEM, _ASK, _ANSWER], {}),
    "tools": Shape([_ASK], {**_REPLY, "tools": [TOOL]}),
    "tool call and result": Shape([_SYSTEM, _ASK, tool_call(), _RESULT], {**_REPLY, "tools": [TOOL]}),
    "documents": Shape([_ASK], {**_REPLY, "documents": [DOCUMENT]}),
    "several system messages": Shape([_SYSTEM, _said("system", "Be kind."), _ASK], _REPLY),
    "late system message": Shape([_ASK, _ANSWER, _said("system", "Be kind."), _MORE], _REPLY),
    "developer message": Shape([_said("developer", "Be brief."), _ASK], _REPLY),
    "no user message": Shape([_SYSTEM, _ANSWER], _REPLY),
    "system message alone": Shape([_SYSTEM], _REPLY),
    "lists of texts": Shape(
        [_said("system", [_text("Be brief.")]), _said("user", [_text("Bread?"), _text("Now.")])], _REPLY
    ),
    "system message with a picture": Shape([_said("system", [_text("Be brief."), _IMAGE]), _ASK], _REPLY),
    "picture": Shape([_said("user", [_IMAGE, _text("What is this?")])], _REPLY),
    "thinking on": Shape([_ASK], {**_REPLY, "thinking": True}),
    "thinking off": Shape([_ASK], {**_REPLY, "thinking": False}),
}


def try_shapes(plain: Any, carrier: Any) -> tuple[tuple[str, State], ...]:
    """Render every shape of chat with every template of a tokenizer.

    Args:
        plain: The model's own tokenizer.
        carrier: The tokenizer that inserts the prompt and checks it.

    Returns:
        Name and state of each shape. Templates beside the default one are named, as in `tools (rag)`.
    """
    sources, found = templates_of(plain), []
    for name, wrapped in templates_of(carrier).items():
        switch = thinking_switch(sources[name])
        ask = SHAPES["one question"]
        # A named template may need tools or documents in every chat.
        needed = [
            given for given in SITUATIONS if _renders(plain, sources[name], ask.messages, {**ask.settings, **given})
        ]
        for title, shape in SHAPES.items():
            settings = {**(needed or [{}])[0], **shape.settings}
            if "thinking" in settings:
                if switch is None:
                    continue
                settings[switch] = settings.pop("thinking")
            if _renders(carrier, wrapped, shape.messages, settings):
                state: State = "defended"
            else:
                fine = _renders(plain, sources[name], shape.messages, settings)
                state = "not defendable" if fine else "refused by the template"
            found.append((title if name == "default" else f"{title} ({name})", state))
    return tuple(found)


def _renders(tokenizer: Any, template: str, messages: Messages, settings: dict[str, Any]) -> bool:
    try:
        tokenizer.apply_chat_template(messages, chat_template=template, **settings)
    except Exception:  # a template is a program and can raise any error
        return False
    return True


def describe(shapes: Iterable[tuple[str, State]]) -> str:
    """Say in one line which shapes of chats are defended."""
    by_state: dict[State, list[str]] = {state: [] for state in STATES}
    for name, state in shapes:
        by_state[state].append(name)
    texts = [f"{len(by_state['defended'])} of {sum(map(len, by_state.values()))} kinds of chats are defended"]
    texts += [f"{state}: {', '.join(by_state[state])}" for state in STATES[1:] if by_state[state]]
    return "; ".join(texts)
