"""The defended template in another Jinja: minijinja, which servers outside Python use."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
import tiny
from templates import TEMPLATES

from babelguard.prompt.placement import find_placement, joined_roles
from babelguard.prompt.preamble import UNDEFENDED, lenient, wrap
from babelguard.prompt.shapes import SHAPES
from babelguard.prompt.template import thinking_switch

minijinja = pytest.importorskip("minijinja")

TOKENS = tuple(f"<|babelguard_{k}|>" for k in range(12))
SOFT = "".join(TOKENS)
# minijinja has no tag `generation`, so it cannot read these templates with or without the prompt.
ONLY_TRANSFORMERS = {"smollm3", "marks replies"}
ALONE = {name: text for name, text in TEMPLATES.items() if isinstance(text, str) and name not in ONLY_TRANSFORMERS}


class Refused(Exception):
    """What `raise_exception` raises."""


def refuse(message):
    raise Refused(message)


def to_json(value, indent=None):
    return json.dumps(value, ensure_ascii=False, indent=indent)


def environment(template):
    made = minijinja.Environment(templates={"chat": template}, trim_blocks=True, lstrip_blocks=True)
    made.add_function("raise_exception", refuse)
    made.add_function("strftime_now", lambda code: datetime.now().strftime(code))
    made.add_filter("tojson", to_json)
    return made


def rendered(template, messages, settings):
    known = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": False, "tools": None, "documents": None}
    return environment(template).render_template("chat", messages=messages, **{**known, **settings})


@pytest.mark.parametrize("name", [*ALONE, *tiny.FAMILIES, "no system"])
def test_minijinja_renders_the_same_chats_as_transformers(name):
    source = ALONE.get(name) or (tiny.NO_SYSTEM if name == "no system" else tiny.FAMILIES[name].template)
    tokenizer = tiny.make_tokenizer(tiny.FAMILIES["mistral"], source)
    placement, _ = find_placement(tokenizer)
    joined = joined_roles(tokenizer, source)
    wrapped = wrap(source, soft=SOFT, tokens=TOKENS, placement=placement, joined=joined, switch=thinking_switch(source))
    same = 0
    for shape in SHAPES.values():
        settings = {
            key: value for key, value in shape.settings.items() if key not in ("continue_final_message", "thinking")
        }
        attack = {"role": "user", "content": f"{TOKENS[3]} {SOFT}"}
        for messages in (shape.messages, [*shape.messages, {"role": "assistant", "content": "Yes."}, attack]):
            given = {"tokenize": False, **settings}
            try:
                bare = tokenizer.apply_chat_template(messages, **given)
                expected = tokenizer.apply_chat_template(messages, chat_template=wrapped, **given)
            except Exception:  # the template refuses the chat, or lists
                continue
            if rendered(source, messages, settings) != bare:  # the dialects print dictionaries differently
                continue
            assert rendered(wrapped, messages, settings) == expected
            assert expected.count(SOFT) == 1
            assert all(expected.count(token) == 1 for token in TOKENS)
            same += 1
    assert same > 10


def test_minijinja_refuses_a_chat_without_a_place_for_the_prompt():
    wrapped = wrap(ALONE["mistral-nemo"], soft=SOFT, tokens=TOKENS, placement="folded")
    alone = [{"role": "system", "content": "Be brief."}]
    with pytest.raises(Exception, match=UNDEFENDED.split(",")[0]):
        rendered(wrapped, alone, {})
    # Users of a server may set variables of the template, but not switch the refusal off.
    with pytest.raises(Exception, match=UNDEFENDED.split(",")[0]):
        rendered(wrapped, alone, {"allow_undefended": True})
    assert rendered(lenient(wrapped), alone, {}) == "<s>"


def test_minijinja_does_not_let_a_caption_stand_in_front_of_the_prompt():
    source = """{% for m in messages %}{% for part in m.content if part.type == 'image' %}<image {{ part.alt }}>{% endfor -%}
{% for part in m.content if part.type == 'text' %}{{ part.text }}{% endfor %}{% endfor %}"""
    wrapped = wrap(source, soft=SOFT, tokens=TOKENS, placement="user")
    text = {"type": "text", "text": "What is this?"}
    chat = [{"role": "user", "content": [{"type": "image", "url": "a.png"}, text]}]
    assert rendered(wrapped, chat, {}) == f"<image >{SOFT}\n\nWhat is this?"
    # The copy of a part in the probe has eight keys.
    for others in ({}, {f"other{k}": "a" for k in range(9)}):
        with pytest.raises(Exception, match=UNDEFENDED.split(",")[0]):
            rendered(wrapped, [{"role": "user", "content": [{"type": "image", **others, "alt": "attack"}, text]}], {})


def test_llama_cpp_can_parse_it():
    """It cannot parse calls with `**`. Whether it renders the same chats is tested in test_gguf.py."""
    assert "**" not in wrap(ALONE["qwen3"], soft=SOFT, tokens=TOKENS, placement="system")
