"""The prompt slot: where in a chat template the soft prompt stands, and which token ids hold its place.

The soft prompt of n vectors is written into the text of the chat as n placeholder tokens that the tokenizer reserves
and never uses. A Jinja preamble in front of the model's own chat template puts them at the head of the system message,
so that the text which is trained is rendered by the very template which is served: there is no second way to render.

Three placements exist. `system`: the template has a system turn. `folded`: the template accepts a system message and
writes it into the user's turn. `user`: the template has no place for a system message, so the prompt stands at the
head of the first user turn (the caller says so aloud).
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any, Literal

from tokenizers import AddedToken

from babelguard.chat_template import chat_template_of, inputs_of, jinja_string, literals_of, thinking_switch
from babelguard.errors import UserError

Placement = Literal["system", "folded", "user"]
Messages = list[dict[str, Any]]

# Names under which tokenizers keep tokens in reserve. The number orders them.
RESERVED = re.compile(
    r"^(?:<unused_?(?:token_)?(\d+)>|\[unused(\d+)\]|<\|reserved_special_token_(\d+)\|>|<\|reserved_(\d+)\|>"
    r"|<SPECIAL_(\d+)>|<\|extra_(\d+)\|>|<\|unused_?(\d+)\|>|<reserved_token_(\d+)>)$"
)
OWN_NAME = "<|babelguard_{}|>"
SENTINEL = "SYSTEMSENTINELTEXT"
QUESTION = "QUESTIONSENTINELTEXT"
SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Slot:
    """Everything that serving needs to know about the place of the prompt.

    Attributes:
        tokens: The n placeholder strings, in order.
        token_ids: Their n ids in the tokenizer.
        placement: Where the prompt stands in the template.
        default_system: The system text that the template inserts by itself and that is kept behind the prompt.
        source: `reserved` ids of the tokenizer, `spare` embedding rows without a token, or `appended` ids beyond the
            embedding table (the hook maps them before they are looked up).
    """

    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    placement: Placement
    default_system: str
    source: Literal["reserved", "spare", "appended"]

    @property
    def text(self) -> str:
        """The placeholders as one string, as it stands in the rendered chat."""
        return "".join(self.tokens)

    def sentence(self) -> str:
        """Say in one sentence where the prompt stands."""
        where = {
            "system": "inside the system turn of the model's own chat template",
            "folded": "in the system text, which this template folds into the first user turn",
            "user": "at the head of the first user turn, because this chat template has no system role",
        }[self.placement]
        kept = ", before the template's built-in system text" if self.default_system else ""
        return f"{len(self.tokens)} soft tokens stand {where}{kept} ({self.tokens[0]} to {self.tokens[-1]}, {self.source} ids)."


def render(tokenizer: Any, messages: Messages, *, generation_prompt: bool = True) -> str:
    """Render a chat to text with the tokenizer's template, thinking switched off where the template has the switch."""
    switch = thinking_switch(chat_template_of(tokenizer))
    switches = {switch: False} if switch else {}
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=generation_prompt, return_dict=False, **switches
    )
    return str(text)


def tokenise(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a rendered chat. The template wrote the special tokens, so none are added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def find_placement(tokenizer: Any) -> tuple[Placement, str]:
    """Find where a system message lands, and the system text that the template inserts without being asked.

    Returns:
        The placement and the built-in system text ('' where there is none).
    """
    question: Messages = [{"role": "user", "content": QUESTION}]
    try:
        bare = render(tokenizer, question)
    except UserError:
        raise
    except Exception as error:  # a template is a program of the model's author: any error can come out of it
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
    # In a folding template nothing but white space lies between the system text and the question.
    return ("folded" if not between.strip() else "system"), built_in


def choose_tokens(tokenizer: Any, count: int, embedding_rows: int) -> tuple[list[str], str]:
    """Choose `count` placeholder strings that the tokenizer keeps in reserve, else names of our own.

    Returns:
        The strings, and where their ids come from (`reserved`, `spare` or `appended`).
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
    """Give back a copy of the tokenizer whose chat template carries `count` soft tokens, and the slot.

    The tokenizer that was passed in is left as it is.
    """
    placement, built_in = find_placement(tokenizer)
    tokens, source = choose_tokens(tokenizer, count, embedding_rows)
    return carry(tokenizer, tuple(tokens), placement, built_in, source)


def carry(
    tokenizer: Any, tokens: tuple[str, ...], placement: Placement, built_in: str, source: Any
) -> tuple[Any, Slot]:
    """Put given placeholder tokens into a copy of the tokenizer and of its template."""
    carrier = copy.deepcopy(tokenizer)
    carrier.add_tokens([AddedToken(t, special=True, normalized=False, lstrip=False, rstrip=False) for t in tokens])
    ids = tuple(int(i) for i in carrier.convert_tokens_to_ids(list(tokens)))
    slot = Slot(tokens=tokens, token_ids=ids, placement=placement, default_system=built_in, source=source)
    template = chat_template_of(tokenizer)
    carrier.chat_template = preamble(slot, thinking_switch(template), inputs_of(template)) + template
    name = tokenizer.name_or_path or "this model"
    if carried(carrier, slot, QUESTION + tokens[0]) != list(ids):
        raise UserError(
            f"The chat template of {name} does not carry the soft tokens once and in order, so it cannot be defended with a "
            "soft prompt."
        )
    for literal in literals_of(template):
        # What the template cuts out of a text may have kept the halves of a placeholder apart.
        half = len(tokens[0]) // 2
        if carried(carrier, slot, tokens[0][:half] + literal + tokens[0][half:]) not in (list(ids), None):
            raise UserError(
                f"The chat template of {name} cuts {literal!r} out of what users write, with which a text could reach the soft "
                "tokens, so it cannot be defended with a soft prompt."
            )
    return carrier, slot


def carried(carrier: Any, slot: Slot, text: str) -> list[int] | None:
    """The placeholder ids of a chat whose every turn has this text, in order; None where the template refuses the chat."""
    turns: Messages = [{"role": role, "content": text} for role in ("user", "assistant", "user")]
    for chat in ([{"role": "system", "content": text}, *turns], turns[:1]):
        try:
            ids = tokenise(carrier, render(carrier, chat))
        except Exception:  # a template is a program of the model's author: it may refuse a role or the text
            continue
        return [index for index in ids if index in set(slot.token_ids)]
    return None


def guard(prefixes: tuple[str, ...]) -> str:
    """The Jinja filter chain that breaks up every placeholder in a text with a space.

    A space within the prefix that placeholders share cannot build a new placeholder, whatever stands around it.
    """
    return "".join(f".replace({jinja_string(p)}, {jinja_string(p[0] + ' ' + p[1:])})" for p in prefixes)


def preamble(slot: Slot, switch: str | None = None, inputs: tuple[str, ...] = ("documents", "tools")) -> str:
    """The Jinja text in front of the model's own template.

    It rebuilds `messages`, `tools`, `documents` and whatever else a template takes: every placeholder that a user, a
    document or a tool wrote is broken up, so that text can never reach the soft prompt's rows; then the soft prompt is set
    before the system text.
    Thinking is off unless the caller asks for it, because what is served is what was trained.
    """
    prefixes = shared_prefixes(slot.tokens)
    broken, firsts = guard(prefixes), sorted({p[0] for p in prefixes})
    rebuilt = " or ".join(f"{jinja_string(p)} in bg.joined" for p in prefixes)
    dropped = "".join(f".replace({jinja_string(first)}, '')" for first in firsts)
    soft, gap = jinja_string(slot.text), jinja_string(SEPARATOR)
    lines = [
        f"{{%- if {switch} is not defined -%}}{{%- set {switch} = false -%}}{{%- endif -%}}" if switch else "",
        "{%- macro bg_guard(value, out) -%}",
        f"{{%- if value is string -%}}{{%- set out.value = value{broken} -%}}",
        "{%- elif value is mapping -%}{%- set bag = namespace(pairs=[]) -%}{%- for key, item in value.items() -%}",
        "{%- set name = namespace(value=key) -%}{%- set one = namespace(value=item) -%}",
        "{{- bg_guard(key, name) -}}{{- bg_guard(item, one) -}}",
        "{%- set bag.pairs = bag.pairs + [(name.value, one.value)] -%}{%- endfor -%}",
        "{%- set out.value = dict(bag.pairs) -%}",
        "{%- elif value is iterable -%}{%- set bag = namespace(items=[]) -%}{%- for item in value -%}",
        "{%- set one = namespace(value=item) -%}{{- bg_guard(item, one) -}}",
        "{%- set bag.items = bag.items + [one.value] -%}{%- endfor -%}{%- set out.value = bag.items -%}",
        "{%- else -%}{%- set out.value = value -%}{%- endif -%}{%- endmacro -%}",
        "{%- set bg = namespace(value=none, messages=[], parts=[], texts=[], joined='', plain=true, system='') -%}",
        *(
            f"{{%- if {name} -%}}{{{{- bg_guard({name}, bg) -}}}}{{%- set {name} = bg.value -%}}{{%- endif -%}}"
            for name in inputs
        ),
        "{{- bg_guard(messages, bg) -}}",
        "{%- for message in bg.value -%}",
        "{%- if 'content' in message and message['content'] is not string and message['content'] is iterable -%}",
        "{%- set bg.texts = [] -%}{%- set bg.plain = true -%}{%- for part in message['content'] -%}",
        "{%- if part is string -%}{%- set bg.texts = bg.texts + [part] -%}",
        "{%- elif part['text'] is string -%}{%- set bg.texts = bg.texts + [part['text']] -%}",
        "{%- else -%}{%- set bg.plain = false -%}{%- endif -%}{%- endfor -%}",
        # Parts of text become one text, because a placeholder may be split over the border of two parts.
        "{%- if bg.plain -%}{%- set text = bg.texts | join('') -%}",
        f"{{%- set bg.messages = bg.messages + [dict(message, content=text{broken})] -%}}",
        # Pictures must stay between the texts; where these would build a placeholder, it loses its first character.
        "{%- else -%}{%- set bg.joined = bg.texts | map('trim') | join('') -%}{%- set bg.parts = [] -%}",
        "{%- for part in message['content'] -%}",
        f"{{%- if ({rebuilt}) and part is string -%}}{{%- set bg.parts = bg.parts + [part{dropped}] -%}}",
        f"{{%- elif ({rebuilt}) and part['text'] is string -%}}",
        f"{{%- set bg.parts = bg.parts + [dict(part, text=part['text']{dropped})] -%}}",
        "{%- else -%}{%- set bg.parts = bg.parts + [part] -%}{%- endif -%}{%- endfor -%}",
        "{%- set bg.messages = bg.messages + [dict(message, content=bg.parts)] -%}{%- endif -%}",
        "{%- else -%}{%- set bg.messages = bg.messages + [message] -%}{%- endif -%}{%- endfor -%}",
        "{%- if bg.messages and bg.messages[0]['role'] in ['system', 'developer'] -%}",
        "{%- if bg.messages[0]['content'] is string -%}{%- set bg.system = bg.messages[0]['content'] -%}{%- endif -%}",
        "{%- set bg.messages = bg.messages[1:] -%}",
        f"{{%- else -%}}{{%- set bg.system = {jinja_string(slot.default_system)} -%}}{{%- endif -%}}",
        f"{{%- if bg.system -%}}{{%- set bg.system = {soft} + {gap} + bg.system -%}}",
        f"{{%- else -%}}{{%- set bg.system = {soft} -%}}{{%- endif -%}}",
    ]
    if slot.placement == "user":
        lines += [
            "{%- if not bg.messages -%}{%- set messages = [{'role': 'user', 'content': bg.system}] -%}{%- else -%}",
            "{%- set first = bg.messages[0] -%}",
            "{%- if first['content'] is string -%}",
            f"{{%- set messages = [dict(first, content=bg.system + {gap} + first['content'])] + bg.messages[1:] -%}}",
            "{%- else -%}",
            f"{{%- set messages = [dict(first, content=[{{'type': 'text', 'text': bg.system + {gap}}}] + first['content'])]"
            " + bg.messages[1:] -%}",
            "{%- endif -%}{%- endif %}",
        ]
    else:
        lines.append("{%- set messages = [{'role': 'system', 'content': bg.system}] + bg.messages %}")
    return "".join(lines)


def shared_prefixes(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """What placeholders begin with up to their number: one text, or several where a tokenizer has several kinds."""
    return tuple(dict.fromkeys(re.split(r"\d", token, maxsplit=1)[0] for token in tokens))
