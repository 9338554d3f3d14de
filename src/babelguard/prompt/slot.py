"""The prompt slot: the position of the soft prompt in a chat template, and its placeholder tokens.

In the text of a chat, the n vectors of the soft prompt are n placeholder tokens that the tokenizer reserves and never
uses otherwise. A preamble in front of the model's own chat template inserts them at the beginning of the system message.
Training and serving render chats with the same template.

There are three placements. `system`: the template has a system turn. `folded`: the template accepts a system message and
writes it into the first user turn. `user`: the template does not accept a system message, so the prompt is inserted at
the beginning of the first user turn.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any, Literal

from tokenizers import AddedToken

from babelguard.errors import UserError
from babelguard.models.checks import chat_template_of
from babelguard.prompt.preamble import preamble
from babelguard.prompt.template import inputs_of, literals_of, thinking_switch

Placement = Literal["system", "folded", "user"]
Messages = list[dict[str, Any]]

# Names of reserved tokens in known tokenizers. The number gives their order.
RESERVED = re.compile(
    r"^(?:<unused_?(?:token_)?(\d+)>|\[unused(\d+)\]|<\|reserved_special_token_(\d+)\|>|<\|reserved_(\d+)\|>"
    r"|<SPECIAL_(\d+)>|<\|extra_(\d+)\|>|<\|unused_?(\d+)\|>|<reserved_token_(\d+)>)$"
)
OWN_NAME = "<|babelguard_{}|>"
SENTINEL = "SYSTEMSENTINELTEXT"
QUESTION = "QUESTIONSENTINELTEXT"


@dataclass(frozen=True)
class Slot:
    """Position and placeholder tokens of a soft prompt.

    Attributes:
        tokens: The n placeholder strings, in order.
        token_ids: Their n ids in the tokenizer.
        placement: Position of the prompt in the template.
        default_system: Built-in system text of the template, which is kept after the prompt.
        source: Where the ids come from: `reserved` ids of the tokenizer, `spare` embedding rows without a token, or
            `appended` ids beyond the embedding table, which the hook maps to a valid id before the lookup.
    """

    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    placement: Placement
    default_system: str
    source: Literal["reserved", "spare", "appended"]

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


def render(tokenizer: Any, messages: Messages, *, generation_prompt: bool = True) -> str:
    """Render a chat to text with the tokenizer's template. Thinking is turned off if the template supports it."""
    switch = thinking_switch(chat_template_of(tokenizer))
    switches = {switch: False} if switch else {}
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=generation_prompt, return_dict=False, **switches
    )
    return str(text)


def tokenise(tokenizer: Any, text: str) -> list[int]:
    """Tokenise a rendered chat. No special tokens are added, because the template has written them."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def find_placement(tokenizer: Any) -> tuple[Placement, str]:
    """Find the position of a system message in the template, and the template's built-in system text.

    Returns:
        The placement, and the built-in system text ('' if there is none).

    Raises:
        UserError: If the template cannot render a single user message.
    """
    question: Messages = [{"role": "user", "content": QUESTION}]
    try:
        bare = render(tokenizer, question)
    except UserError:
        raise
    except Exception as error:  # a template is a program and can raise any error
        raise UserError(f"The chat template of this model cannot render a single user message ({error}).") from error
    try:
        text = render(tokenizer, [{"role": "system", "content": SENTINEL}, *question])
    except Exception:  # templates without a system role raise TemplateError, or anything else
        return "user", ""
    if text.count(SENTINEL) != 1 or text.find(SENTINEL) > text.find(QUESTION):
        return "user", ""
    head, tail = text.split(SENTINEL)
    between = tail[: tail.find(QUESTION)]
    built_in = ""
    if bare.startswith(head) and bare.endswith(tail) and len(bare) > len(head) + len(tail):
        built_in = bare[len(head) : len(bare) - len(tail)]
    # A template folds the system text into the user turn if only white space separates it from the question.
    return ("folded" if not between.strip() else "system"), built_in


def choose_tokens(tokenizer: Any, count: int, embedding_rows: int) -> tuple[list[str], str]:
    """Choose `count` reserved tokens of the tokenizer as placeholders, or new ones if there are not enough.

    Returns:
        The placeholder strings, and the source of their ids (see `Slot.source`).
    """
    template = chat_template_of(tokenizer)
    named = {str(t) for t in tokenizer.all_special_tokens if not RESERVED.match(str(t))}
    found: list[tuple[int, str]] = []
    for token, index in tokenizer.get_vocab().items():
        match = RESERVED.match(token)
        if match and index < embedding_rows and token not in template and token not in named:
            found.append((int(next(group for group in match.groups() if group is not None)), token))
    if len(found) >= count:
        return [token for _, token in sorted(found)[:count]], "reserved"
    names = [OWN_NAME.format(k) for k in range(count)]
    return names, "spare" if len(tokenizer) + count <= embedding_rows else "appended"


def install(tokenizer: Any, count: int, embedding_rows: int) -> tuple[Any, Slot]:
    """Return a copy of the tokenizer whose chat template inserts `count` soft tokens, and the slot.

    The given tokenizer is not changed.

    Raises:
        UserError: If the chat template cannot carry a soft prompt.
    """
    placement, built_in = find_placement(tokenizer)
    tokens, source = choose_tokens(tokenizer, count, embedding_rows)
    return carry(tokenizer, tuple(tokens), placement, built_in, source)


def carry(
    tokenizer: Any, tokens: tuple[str, ...], placement: Placement, built_in: str, source: Any
) -> tuple[Any, Slot]:
    """Add the given placeholder tokens to a copy of the tokenizer and of its template; see `install`."""
    carrier = copy.deepcopy(tokenizer)
    carrier.add_tokens([AddedToken(t, special=True, normalized=False, lstrip=False, rstrip=False) for t in tokens])
    ids = tuple(int(i) for i in carrier.convert_tokens_to_ids(list(tokens)))
    slot = Slot(tokens=tokens, token_ids=ids, placement=placement, default_system=built_in, source=source)
    template = chat_template_of(tokenizer)
    head = preamble(tokens, placement, built_in, thinking_switch(template), inputs_of(template))
    carrier.chat_template = head + template
    name = tokenizer.name_or_path or "this model"
    if carried(carrier, slot, QUESTION + tokens[0]) != list(ids):
        raise UserError(
            f"The chat template of {name} does not render the soft tokens exactly once and in order, so this model cannot be "
            "defended with a soft prompt."
        )
    for literal in literals_of(template):
        # If the template removes a literal from texts, the two halves of a placeholder around it could join.
        half = len(tokens[0]) // 2
        if carried(carrier, slot, tokens[0][:half] + literal + tokens[0][half:]) not in (list(ids), None):
            raise UserError(
                f"The chat template of {name} removes {literal!r} from messages, so a user could write a text that becomes "
                "soft tokens; this model cannot be defended with a soft prompt."
            )
    return carrier, slot


def carried(carrier: Any, slot: Slot, text: str) -> list[int] | None:
    """Return the placeholder ids in a chat where every turn has this text, or None if the template rejects the chat."""
    turns: Messages = [{"role": role, "content": text} for role in ("user", "assistant", "user")]
    for chat in ([{"role": "system", "content": text}, *turns], turns[:1]):
        try:
            ids = tokenise(carrier, render(carrier, chat))
        except Exception:  # the template may reject a role or the text
            continue
        return [index for index in ids if index in set(slot.token_ids)]
    return None
