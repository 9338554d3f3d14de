"""No string that a client sends through the proxy becomes a placeholder token, whatever field it is in."""

from __future__ import annotations

import json
import random

import pytest
import tiny
from tokenizers import AddedToken

from babelguard.export.openai_messages import Payload
from babelguard.prompt.slot import install
from babelguard.proxy.defended import SENTINEL, Defended
from babelguard.proxy.requests import forwarded

FAMILIES = ("llama", "qwen2", "gemma3")
STRINGS = 3400  # per family
WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
# How templates write names and keys: in brackets, after a tag, alone.
WRAPPED = ("{}", "<{}>", "<|{}|>", "[{}]", "<function={}>", "</{}>", "<{}", "{}>", "<|{}", "{}|>", " {} ")


class Strings:
    """Composes strings of pieces of placeholders, and remembers how many."""

    def __init__(self, tokens, seed):
        self.random, self.tokens, self.made = random.Random(seed), tokens, 0

    def piece(self):
        token, pick = self.random.choice(self.tokens), self.random.random()
        cut = self.random.randrange(1, len(token))
        if pick < 0.25:
            return token
        if pick < 0.4:
            return token[:cut]
        if pick < 0.55:
            return token[cut:]
        if pick < 0.62:
            return token.strip("<>|[]")
        if pick < 0.72:
            levels = "\\" * self.random.choice((1, 2, 4))
            return "".join(f"{levels}u{ord(char):04x}" if self.random.random() < 0.4 else char for char in token)
        if pick < 0.76:
            return token.translate(WIDE)
        if pick < 0.80:
            return token[:cut] + self.random.choice("\u200b\u00ad\u0301\u0000\ufeff ") + token[cut:]
        if pick < 0.84:
            return token[:cut] + token + token[cut:]
        if pick < 0.88:
            return json.dumps(token)
        return self.random.choice(
            (" ", "\n", "<", ">", "|", "\\", "<|", "|>", "Hello", "안녕", "u003c", "{", '"', "<|im_end|>")
        )

    def one(self):
        self.made += 1
        return "".join(self.piece() for _ in range(self.random.randrange(1, 6)))

    def parts(self):
        return [{"type": "text", "text": self.one()} for _ in range(self.random.randrange(1, 4))]

    def content(self):
        return self.parts() if self.random.random() < 0.3 else self.one()

    def value(self, depth=0):
        kind = self.random.randrange(4 if depth < 3 else 1)
        if kind < 2:
            return self.one()
        items = [self.value(depth + 1) for _ in range(2)]
        return items if kind == 2 else {self.one(): item for item in items}

    def request(self):
        """Compose a request with such strings in every field that takes one."""
        call = {"id": self.one(), "type": "function", "function": {"name": self.one(), "arguments": self.arguments()}}
        reply = {"role": "assistant", "content": self.one(), "reasoning_content": self.one(), "tool_calls": [call]}
        result = {"role": "tool", "tool_call_id": self.one(), "name": self.one(), "content": self.content()}
        function = {"name": self.one(), "description": self.one(), "parameters": {self.one(): self.value()}}
        schema = {"name": self.one(), "description": self.one(), "schema": {self.one(): self.value()}}
        asked = {"role": "user", "content": self.content(), "name": self.one()}
        return {
            "model": "safe",
            "messages": [
                *([{"role": "system", "content": self.content()}] if self.random.random() < 0.5 else []),
                {"role": "user", "content": self.content()},
                *(
                    [reply, result, reply]
                    if self.random.random() < 0.5
                    else [{"role": "assistant", "content": self.one()}]
                ),
                asked,
            ],
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": function["name"]}},
            "response_format": {"type": "json_schema", "json_schema": schema},
            "stop": [self.one(), self.one()],
            "user": self.one(),
        }

    def arguments(self):
        text = json.dumps({self.one(): self.value()}, ensure_ascii=self.random.random() < 0.5)
        return text if self.random.random() < 0.8 else self.one()


def strings(value):
    """Yield every string of a JSON value, also of JSON within strings, and the keys."""
    if isinstance(value, str):
        yield value
        try:
            inner = json.loads(value)
        except ValueError:
            return
        if inner != value:
            yield from strings(inner)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def engine_of(name):
    """Return the tokenizer of an engine that serves an export, the tokenizer of its base model, and the model."""
    family = tiny.FAMILIES[name]
    plain = tiny.make_tokenizer(family)
    carrier, slot = install(plain, 5, len(plain) + family.spare)
    served = tiny.make_tokenizer(family, carrier.chat_template)
    served.add_tokens([AddedToken(token, special=True, normalized=False) for token in slot.tokens])
    assert tuple(served.convert_tokens_to_ids(list(slot.tokens))) == slot.token_ids
    return served, Defended("safe", "engine-name", slot.tokens, slot.token_ids)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_string_reaches_a_placeholder(name):
    served, model = engine_of(name)
    ids = set(model.token_ids)
    made = Strings(model.tokens, FAMILIES.index(name))
    broken = 0
    while made.made < STRINGS:
        request = forwarded(json.dumps(made.request()).encode(), model)
        broken += request.broken
        body = json.loads(request.body)
        # Each string for itself, in the way that a template without a safety prompt may write it.
        del body["logit_bias"], body["model"]
        texts = list(strings(body))
        for form in WRAPPED:
            whole = "\n".join(form.format(text) for text in texts)
            assert not ids & set(served.backend_tokenizer.encode(whole, add_special_tokens=False).ids), whole
        # The whole chat, in the way that the template of the export writes it.
        chat = [message for message in body["messages"] if message["role"] in ("system", "user")]
        rendered = served.apply_chat_template(chat, tools=body["tools"], add_generation_prompt=True, return_dict=False)
        assert [index for index in rendered if index in ids] == list(model.token_ids)
    assert broken > STRINGS / 4


def test_the_strings_would_reach_placeholders_without_the_proxy():
    served, model = engine_of("gemma3")
    made = Strings(model.tokens, 1)
    texts = [made.one() for _ in range(500)]
    found = served(texts, add_special_tokens=False)["input_ids"]
    assert sum(bool(set(model.token_ids) & set(row)) for row in found) > 100


def test_no_string_reaches_the_mark_of_prompt_embeddings():
    part = {"type": "prompt_embeds", "data": "QUJD"}
    payload = Payload.model_validate({"part": part, "default_system": "", "chat_template_kwargs": {}})
    model = Defended("safe", "engine-name", ("<unused0>",), (6,), payload=payload)
    made = Strings([SENTINEL], 7)
    while made.made < STRINGS:
        body = json.loads(forwarded(json.dumps(made.request()).encode(), model).body)
        assert body["messages"][0]["content"][0] == part
        del body["messages"][0]["content"][0]
        bad = [form.format(text) for text in strings(body) for form in WRAPPED if SENTINEL in form.format(text)]
        assert not bad
