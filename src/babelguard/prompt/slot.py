"""The prompt slot: the position of the soft prompt in a chat template, and its placeholder tokens.

In the text of a chat, the n vectors of the soft prompt are n placeholder tokens that the tokenizer reserves and never
uses otherwise. Jinja text around the model's own chat template inserts them at the beginning of the system message.
Training and serving render chats with the same template.

There are three placements. `system`: the template has a system turn. `folded`: the template accepts a system message and
writes it into the first user turn. `user`: the template does not accept a system message, so the prompt is inserted at
the beginning of the first user turn. The first two also insert it there in chats in which the template does not write a
system message in front of all user texts.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from tokenizers import AddedToken

from babelguard.errors import UserError
from babelguard.models.checks import chat_template_of
from babelguard.prompt.placeholders import choose_tokens
from babelguard.prompt.placement import (
    QUESTION,
    SITUATIONS,
    Messages,
    Placement,
    find_placement,
    joined_roles,
    refusing_situations,
    renders,
)
from babelguard.prompt.preamble import wrap
from babelguard.prompt.shapes import State, try_shapes
from babelguard.prompt.template import templates_of, thinking_switch, with_clock
from babelguard.prompt.tokenizer import DefendedTokenizer, defended

# Every template that babelguard wrote has this macro.
WRAPPED = "bg_template("


@dataclass(frozen=True)
class Slot:
    """Position and placeholder tokens of a soft prompt.

    Attributes:
        tokens: The n placeholder strings, in order.
        token_ids: Their n ids in the tokenizer.
        placement: `system`, `folded` or `user`; see the module.
        default_system: The template's built-in system text when the prompt was installed, or ''. Chats get the text of the
            day.
        source: Where the ids come from: `reserved` tokens of the tokenizer, `spare` embedding rows without a token, or
            `appended` ids beyond the embedding table, which the hook maps to a valid id before the lookup.
        shapes: The kinds of chats that were tried, and whether each is defended; see `babelguard.prompt.shapes`.
    """

    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    placement: Placement
    default_system: str
    source: Any
    shapes: tuple[tuple[str, State], ...] = ()

    @property
    def text(self) -> str:
        """The placeholders as one string, as in the rendered chat."""
        return "".join(self.tokens)

    def sentence(self) -> str:
        """Describe the position of the prompt in one sentence."""
        where = {
            "system": "in the system turn of the model's own chat template",
            "folded": "in the system text, which this chat template writes into the first user turn",
            "user": "at the beginning of the first user turn, because this chat template has no system role",
        }[self.placement]
        kept = ", before the template's built-in system text" if self.default_system else ""
        return (
            f"{len(self.tokens)} soft tokens {where}{kept} ({self.tokens[0]} to {self.tokens[-1]}, {self.source} ids)."
        )


def render(tokenizer: Any, messages: Messages, *, generation_prompt: bool = True, **given: Any) -> str:
    """Render a chat to text with the tokenizer's default template. Thinking is turned off if the template supports it.

    Args:
        tokenizer: The tokenizer.
        messages: The chat.
        generation_prompt: Whether the beginning of the reply is added.
        given: Further arguments of `apply_chat_template`, such as tools.

    Raises:
        UserError: If the template cannot render the chat.
    """
    template = chat_template_of(tokenizer)
    switch = thinking_switch(template)
    switches = {switch: False} if switch else {}
    try:
        text = tokenizer.apply_chat_template(
            messages,
            chat_template=with_clock(template),
            tokenize=False,
            add_generation_prompt=generation_prompt,
            return_dict=False,
            **switches,
            **given,
        )
    except UserError:
        raise
    except Exception as error:  # a template is a program and can raise any error
        name = tokenizer.name_or_path or "this model"
        reason = " ".join(str(error).split())
        raise UserError(
            f"The chat template of {name} cannot render this chat ({reason}); choose another model or mend its template."
        ) from error
    return str(text)


def tokenise(tokenizer: Any, text: str) -> list[int]:
    """Tokenise a rendered chat. No special tokens are added, because the template has written them."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def install(tokenizer: Any, count: int, embedding_rows: int, in_use: Collection[int | None] = ()) -> tuple[Any, Slot]:
    """Return a copy of the tokenizer whose chat templates insert `count` soft tokens, and the slot.

    The given tokenizer is not changed. All shapes of chats are tried.

    Args:
        tokenizer: The tokenizer.
        count: The number of soft tokens.
        embedding_rows: The number of rows of the model's embedding table.
        in_use: Ids that the model uses otherwise, such as its end-of-sequence ids.

    Raises:
        UserError: If the chat template cannot carry a soft prompt, or already has one.
    """
    check_tokenizer(tokenizer)
    placement, built_in = find_placement(tokenizer)
    tokens, source = choose_tokens(tokenizer, count, embedding_rows, in_use)
    carrier, slot = carry(tokenizer, tuple(tokens), placement, built_in, source)
    return carrier, replace(slot, shapes=try_shapes(tokenizer, carrier))


def check_tokenizer(tokenizer: Any) -> None:
    """Check that a soft prompt can be added to a tokenizer.

    Raises:
        UserError: If it is a processor, or already has a soft prompt.
    """
    if not hasattr(tokenizer, "get_vocab"):
        raise UserError(
            f"A {type(tokenizer).__name__} is not a tokenizer; give the tokenizer of the model, such as processor.tokenizer."
        )
    if isinstance(tokenizer, DefendedTokenizer) or any(WRAPPED in t for t in templates_of(tokenizer).values()):
        raise UserError(
            f"The chat template of {tokenizer.name_or_path or 'this model'} already has a safety prompt from babelguard; give "
            "the base model and its own tokenizer."
        )


def carry(
    tokenizer: Any, tokens: tuple[str, ...], placement: Placement, built_in: str, source: Any
) -> tuple[Any, Slot]:
    """Add the given placeholder tokens to a copy of the tokenizer and of its templates; see `install`."""
    check_tokenizer(tokenizer)
    name = tokenizer.name_or_path or "this model"
    if used := [(role, token) for role, token in tokenizer.special_tokens_map.items() if token in tokens]:
        raise UserError(
            f"The {used[0][0]} of {name} is {used[0][1]!r}, which the safety prompt uses as a placeholder; give the tokenizer "
            f"another {used[0][0]}."
        )
    before = {index: token for token, index in tokenizer.get_vocab().items()}
    carrier = copy.deepcopy(tokenizer)
    carrier.add_tokens([AddedToken(t, special=True, normalized=False, lstrip=False, rstrip=False) for t in tokens])
    ids = tuple(int(i) for i in carrier.convert_tokens_to_ids(list(tokens)))
    if taken := [before[index] for token, index in zip(tokens, ids, strict=True) if before.get(index, token) != token]:
        raise UserError(
            f"The vocabulary of {name} has gaps in its token ids, so that a new token would get the id of {taken[0]!r}; this "
            "model cannot be defended with a soft prompt."
        )
    slot = Slot(tokens=tokens, token_ids=ids, placement=placement, default_system=built_in, source=source)
    carrier.chat_template = insert(tokenizer, slot.text, tokens, placement)
    carrier = defended(carrier, tokens, ids)
    question: Messages = [{"role": "user", "content": QUESTION + tokens[0]}]
    needed = next(
        (given for given in SITUATIONS if renders(tokenizer, chat_template_of(tokenizer), question, given)), {}
    )
    try:
        carrier.check_prompt(tokenise(carrier, render(carrier, question, **needed)))
    except UserError as error:
        raise UserError(
            f"The chat template of {name} does not render the soft tokens exactly once and in order, so this model cannot be "
            "defended with a soft prompt."
        ) from error
    return carrier, slot


def insert(tokenizer: Any, soft: str, tokens: tuple[str, ...], placement: Placement) -> str | dict[str, str]:
    """Return the chat templates of a tokenizer, each with a prompt inserted.

    Args:
        tokenizer: The tokenizer.
        soft: The prompt as text.
        tokens: The placeholders of a soft prompt; empty for a written prompt.
        placement: The placement in the default template. It is found for the others.
    """
    templates = {}
    for name, source in templates_of(tokenizer).items():
        place = placement
        if name != "default":
            try:
                place, _ = find_placement(tokenizer, source)
            except UserError:  # it cannot render any of the chats that are tried, and says so when it is used
                place = "system"
        templates[name] = wrap(
            source,
            soft=soft,
            tokens=tokens,
            placement=place,
            joined=joined_roles(tokenizer, source),
            switch=thinking_switch(source),
            refusing=() if place == "user" else refusing_situations(tokenizer, source),
        )
    return templates if isinstance(tokenizer.chat_template, dict) else templates["default"]
