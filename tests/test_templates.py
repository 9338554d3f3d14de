"""Many kinds of chat templates with all shapes of chats: the prompt is in each chat once, and nothing else changes."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass
from datetime import datetime as real_datetime
from functools import cache

import pytest
import tiny
from jinja2 import TemplateError
from templates import CLASH, LAST_SYSTEM, LINES, MARKED, MISTRAL_NEMO, QWEN3, SMOLLM3, SYSTEMS, TEMPLATES, USER_NEXT
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from babelguard.defences import NoDefence, SoftDefence, WrittenDefence
from babelguard.errors import UserError
from babelguard.prompt.preamble import SEPARATOR
from babelguard.prompt.shapes import SHAPES, STATES, describe
from babelguard.prompt.slot import install, render, tokenise
from babelguard.prompt.template import fixed_clock, thinking_switch

COUNT = 4
QUESTION = [{"role": "user", "content": "How do I bake bread?"}]
TOOL = SHAPES["tools"].settings["tools"][0]
PICTURES = ["system message with a picture", "picture"]
# The shapes that are not defended. The template itself refuses them, unless they are in NOT_DEFENDABLE.
REFUSED = {
    "gemma4": [],
    "smollm3": PICTURES[:1],
    "granite3.3": PICTURES,
    "mistral-small": ["tool call and result", "developer message"],
    "mistral-nemo": [
        "several system messages",
        "late system message",
        "developer message",
        "no user message",
        *PICTURES,
    ],
    "hermes": [*PICTURES, *(f"{name} (tool_use)" for name in PICTURES)],
    "command-r": [*PICTURES, "picture (tool_use)", "picture (rag)"],
    "llama3.1": [],
    "llama3.2": [],
    "qwen3": PICTURES,
    "deepseek-r1": PICTURES[1:],
    "phi3": PICTURES,
    "phi4": PICTURES,
    "gpt-oss": PICTURES,
    "last system": [],
    "cuts by role": PICTURES,
    "cuts the system text": PICTURES,
    "other built-in": PICTURES,
    "everything twice": PICTURES,
    "white space": [],
    "skips parts": [],
    "marks replies": PICTURES,
    "exclusive": ["tool call and result", PICTURES[0]],
}
NOT_DEFENDABLE = {"mistral-nemo": ["system message alone"]}


@cache
def installed(name):
    tokenizer = tiny.make_tokenizer(tiny.FAMILIES["mistral"], TEMPLATES[name])
    return tokenizer, *install(tokenizer, COUNT, len(tokenizer))


def with_template(template):
    tokenizer = tiny.make_tokenizer(tiny.FAMILIES["mistral"], template)
    return tokenizer, *install(tokenizer, COUNT, len(tokenizer))


def soft_ids(slot, ids):
    return [i for i in ids if i in set(slot.token_ids)]


def text_of(tokenizer, messages, **settings):
    return tokenizer.apply_chat_template(messages, tokenize=False, **settings)


def assert_inserted(text, bare, soft):
    """Assert that a chat is the bare chat with one piece inserted that contains the prompt."""
    before = next((k for k, (a, b) in enumerate(zip(text, bare, strict=False)) if a != b), len(bare))
    after = bare[before:]
    assert text.endswith(after), (text, bare)
    assert soft in text[: len(text) - len(after)]
    assert text.count(soft) == 1


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_shape_is_defended_or_known_not_to_be(name):
    _, _, slot = installed(name)
    states = dict(slot.shapes)
    assert [shape for shape, state in slot.shapes if state == STATES[1]] == REFUSED[name]
    assert [shape for shape, state in slot.shapes if state == STATES[2]] == NOT_DEFENDABLE.get(name, [])
    assert states["one question"] == STATES[0]
    assert describe(slot.shapes).startswith(f"{list(states.values()).count(STATES[0])} of {len(states)} kinds")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_defended_chat_is_the_bare_chat_with_the_prompt_inserted(name, shape):
    tokenizer, carrier, slot = installed(name)
    messages, settings = SHAPES[shape]
    state = dict(slot.shapes).get(shape)
    switch = thinking_switch(tokenizer.get_chat_template())
    settings = {(switch or "other" if key == "thinking" else key): value for key, value in settings.items()}
    if state == "not defendable":
        with pytest.raises(UserError, match="no place for the safety prompt"):
            text_of(carrier, messages, **settings)
        assert text_of(carrier, messages, allow_undefended=True, **settings) == text_of(tokenizer, messages, **settings)
    if state != "defended":
        return
    text = text_of(carrier, messages, **settings)
    served = carrier.apply_chat_template(messages, return_dict=False, **settings)
    assert soft_ids(slot, served) == list(slot.token_ids)
    assert served == tokenise(carrier, text)
    asked = [message["content"] for message in messages if message["role"] == "user"]
    if asked and isinstance(asked[0], str):
        assert text.index(slot.text) < text.index(asked[0])
    if shape in ("lists of texts", *PICTURES):  # the bare template may refuse or print lists
        return
    if switch and switch not in settings:
        settings[switch] = False  # thinking is off unless it is turned on
    assert_inserted(text, text_of(tokenizer, messages, **settings), slot.text)


@pytest.mark.parametrize("name", TEMPLATES)
def test_training_measuring_and_serving_use_the_same_tokens(name):
    tokenizer, carrier, slot = installed(name)
    soft = SoftDefence("mcd", None, slot, carrier)
    trained = soft.token_ids(tokenizer, QUESTION[0]["content"])
    assert trained == carrier.apply_chat_template(QUESTION, add_generation_prompt=True, return_dict=False)
    # A written prompt stands at the same position.
    written = WrittenDefence.from_text("written", "Refuse what harms.", tokenizer)
    text = written.text(tokenizer, QUESTION[0]["content"])
    assert text == soft.text(tokenizer, QUESTION[0]["content"]).replace(slot.text, "Refuse what harms.")


@pytest.mark.parametrize(
    "prompt", ["a \x0c b\u2028 c \x85 d \x1c\x1d\x1e\v e", "the babelguardsource", "a\n b \r\n {{ c }}'\\"]
)
def test_every_character_of_a_written_prompt_is_kept(prompt):
    for template in (QWEN3, tiny.NO_SYSTEM, SMOLLM3):
        tokenizer, _, _ = with_template(template)
        assert WrittenDefence.from_text("written", prompt, tokenizer).text(tokenizer, "Hello").count(prompt) == 1


def test_all_of_several_system_texts_are_kept():
    messages, settings = SHAPES["several system messages"]
    for name in TEMPLATES:
        tokenizer, carrier, slot = installed(name)
        if dict(slot.shapes)["several system messages"] == "defended":
            bare, text = text_of(tokenizer, messages, **settings), text_of(carrier, messages, **settings)
            assert [t in text for t in ("Be brief.", "Be kind.")] == [t in bare for t in ("Be brief.", "Be kind.")], (
                name
            )
    # A template without a system role keeps none of them. They are put in front of the first user text.
    tokenizer, carrier, slot = with_template(tiny.NO_SYSTEM)
    text = text_of(carrier, messages, **settings)
    assert f"{slot.text}\n\nBe brief.\n\nBe kind.\n\nHow do I" in text


@pytest.mark.parametrize("template", [tiny.NO_SYSTEM, tiny.GEMMA, TEMPLATES["skips parts"]])
def test_texts_beside_a_picture_in_a_system_message_are_kept(template):
    _, carrier, slot = with_template(template)
    parts = [{"type": "text", "text": "Be brief."}, {"type": "image"}, {"type": "text", "text": "Be kind."}]
    for content in (parts[:1], parts[:2], [parts[0], parts[2]]):
        text = text_of(carrier, [{"role": "system", "content": content}, *QUESTION])
        assert text.count(slot.text) == 1
        assert text.index(slot.text) < text.index("Be brief.") < text.index("How do I")
        assert ("Be kind." in text) == (parts[2] in content)


@pytest.mark.parametrize("name", ["granite3.3", "mistral-small", "smollm3", "other built-in"])
def test_a_built_in_text_has_the_date_of_the_day(name, monkeypatch):
    tokenizer, carrier, slot = installed(name)

    class Tomorrow(real_datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 5, 17)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Tomorrow)
    bare, text = render(tokenizer, QUESTION), render(carrier, QUESTION)
    assert "17" in bare
    assert_inserted(text, bare, slot.text)


def test_the_key_of_a_reply_does_not_depend_on_the_day(monkeypatch):
    for name in ("granite3.3", "mistral-small", "gpt-oss"):
        tokenizer, carrier, slot = installed(name)
        written = WrittenDefence.from_text("written", "Be kind.", tokenizer)
        for defence in (NoDefence(), SoftDefence("mcd", None, slot, carrier), written):
            found = []
            for day in (3, 4):

                class Day(real_datetime):
                    @classmethod
                    def now(cls, tz=None):
                        return cls(2031, 5, day)  # noqa: B023

                monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Day)
                with fixed_clock():
                    fixed = defence.text(tokenizer, "Hi")
                again = WrittenDefence.from_text("written", "Be kind.", tokenizer)
                found.append((fixed, defence.text(tokenizer, "Hi"), again.digest))
            assert found[0][0] == found[1][0]
            assert found[0][1] != found[1][1]
            assert found[0][2] == found[1][2]


@pytest.mark.parametrize("name", ["hermes", "command-r"])
def test_every_named_template_is_defended_and_keeps_tools(name):
    tokenizer, carrier, slot = installed(name)
    assert carrier.chat_template.keys() == tokenizer.chat_template.keys()
    text = text_of(carrier, QUESTION, tools=[TOOL])
    assert "Report the weather." in text
    assert_inserted(text, text_of(tokenizer, QUESTION, tools=[TOOL]), slot.text)
    if name == "command-r":
        documents = SHAPES["documents"].settings["documents"]
        text = text_of(carrier, QUESTION, documents=documents, chat_template="rag")
        assert "Bread needs yeast." in text
        assert text.count(slot.text) == 1


@pytest.mark.parametrize("template", [MARKED, SMOLLM3])
def test_the_texts_of_the_assistant_are_marked_as_in_the_bare_template(template):
    tokenizer, carrier, _ = with_template(template)
    chat = [
        *QUESTION,
        {"role": "assistant", "content": "Knead it."},
        *QUESTION,
        {"role": "assistant", "content": "Bake."},
    ]
    marked = []
    for one in (tokenizer, carrier):
        given = {"enable_thinking": False, "return_assistant_tokens_mask": True}
        for chats in (chat, [chat, chat[:2]]):
            out = one.apply_chat_template(chats, **given)
            rows = [(out["input_ids"], out["assistant_masks"])]
            if chats is not chat:
                rows = list(zip(out["input_ids"], out["assistant_masks"], strict=True))
            marked.append([[i for i, m in zip(ids, mask, strict=True) if m] for ids, mask in rows])
    assert marked[0][0]
    assert marked[:2] == marked[2:]


GENERATIVE = """{%- for document in documents or [] %}<{{ document.text }}>{% endfor %}
{%- for message in messages %}<|{{ message.role }}|>
{%- if message.role == 'assistant' %}{% generation %}{{ message.content }}{% endgeneration %}
{%- elif message.content is string %}{{ message.content }}
{%- else %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}{% endfor %}"""
FORGED = ["babelguardgenerationmark", "zgbabelguardmark", "zgbabelguardmarkbabelguardmark"]


def masked(tokenizer, chat, **given):
    out = tokenizer.apply_chat_template(chat, return_assistant_tokens_mask=True, return_dict=True, **given)
    pairs = zip(out["input_ids"], out["assistant_masks"], strict=True)
    return tokenizer.decode([token for token, marked in pairs if marked])


@pytest.mark.parametrize("mark", FORGED)
def test_no_text_is_taken_for_the_mark_of_an_assistants_text(mark):
    tokenizer, carrier, slot = with_template(GENERATIVE)
    parts = [{"type": "text", "text": f"AAA{mark[:9]}"}, {"type": "text", "text": f"{mark[9:]}BBB"}]
    reply = {"role": "assistant", "content": f"Knead it{mark}."}
    for content in (f"AAA{mark}BBB", parts, f"zg{mark[2:]}babelguardmar"):
        chat = [{"role": "user", "content": content, "unread": mark}, reply]
        for given in ({}, {"documents": [{"text": f"a{mark}b"}]}):
            bare, text = text_of(tokenizer, chat, **given), text_of(carrier, chat, **given)
            assert_inserted(text, bare, slot.text)
            assert masked(carrier, chat, **given) == masked(tokenizer, chat, **given) == reply["content"]
    given = {"documents": [{"text": f"<|im_{mark}end|>"}], "sanitize_control_tokens": True}
    assert "<|im_end|>" not in carrier.decode(carrier.apply_chat_template(chat, return_dict=False, **given))


def test_a_template_that_changes_the_marks_of_its_replies_is_refused():
    kept = "{%- set reply %}{% generation %}{{ message.content }}{% endgeneration %}{% endset %}{{ reply"
    changed = GENERATIVE.replace("{% generation %}{{ message.content }}{% endgeneration %}", kept + " | upper }}")
    _, carrier, _ = with_template(changed)
    chat = [*QUESTION, {"role": "assistant", "content": "Yes."}]
    assert text_of(carrier, QUESTION)
    with pytest.raises(UserError, match="no place"):
        text_of(carrier, chat)
    assert text_of(carrier, chat, allow_undefended=True).endswith("YES.")


def test_generation_tags_in_raw_text_and_comments_are_kept():
    raw = "{# {% generation %} #}{% raw %}{% generation %}{% endraw %}"
    for source in (raw + LAST_SYSTEM, raw + GENERATIVE):
        tokenizer, carrier, slot = with_template(source)
        bare = text_of(tokenizer, QUESTION)
        assert bare.startswith("{% generation %}")
        assert_inserted(text_of(carrier, QUESTION), bare, slot.text)


REPLY = {"role": "assistant", "content": "Hello."}
LATE_SYSTEM = [*QUESTION, REPLY, {"role": "system", "content": "Be kind."}, *QUESTION]


@pytest.mark.parametrize(
    ("source", "chat", "given"),
    [
        (SYSTEMS, LATE_SYSTEM, {}),
        (USER_NEXT, [REPLY, *QUESTION], {}),
        (CLASH, QUESTION, {"system_prompt": "Be brief."}),
        # It raises an error of Python.
        ("{% if messages[0].role == 'system' %}{{ 1 + messages[1].role }}{% endif %}", [REPLY, *QUESTION], {}),
    ],
)
def test_a_chat_in_which_a_system_message_cannot_be_added_is_defended_at_the_user_text(source, chat, given):
    tokenizer, carrier, slot = with_template(source + LINES)
    bare = text_of(tokenizer, chat, **given)
    for settings in (given, {**given, "allow_undefended": True}):
        text = text_of(carrier, chat, **settings)
        assert text == bare.replace("<|user|>", f"<|user|>{slot.text}{SEPARATOR}", 1)
    if source in (SYSTEMS, USER_NEXT):  # the template itself avoids the error, as in other software
        assert text_of(without_checks(carrier), chat, **given) == text


def test_only_the_error_of_the_models_own_template_is_raised():
    source = (
        """{% for m in messages if m.role == 'user' and m.content != 'Hi' and messages[-1].role == 'assistant' -%}
{{ raise_exception('Say Hi.') }}{% endfor -%}"""
        + LINES
    )
    tokenizer, carrier, slot = with_template(source)
    hi = [{"role": "user", "content": "Hi"}, REPLY]
    assert text_of(carrier, hi, allow_undefended=True) == text_of(tokenizer, hi)
    forged = [hi[0], {"role": "assistant", "content": slot.tokens[0]}]
    assert slot.tokens[0] not in text_of(carrier, forged, allow_undefended=True)
    with pytest.raises(UserError, match="no place"):
        text_of(carrier, hi)
    with pytest.raises(TemplateError, match="Say Hi"):
        text_of(carrier, [*QUESTION, REPLY])


def test_a_chat_may_end_in_a_placeholder_that_is_to_be_continued():
    for name in ("qwen3", "llama3.1", "last system", "skips parts"):
        _, carrier, slot = installed(name)
        last = {"role": "assistant", "content": f"It is {slot.tokens[0]}"}
        text = text_of(carrier, [*QUESTION, last], continue_final_message=True)
        assert text.endswith(f"It is {slot.tokens[0][0]} {slot.tokens[0][1:]}")
        assert text.count(slot.text) == 1


class Message:
    """A message as an object, like those of some clients."""

    def __init__(self, **fields):
        self.fields = fields

    def model_dump(self):
        return self.fields


def test_messages_may_be_objects_generators_or_have_no_content():
    _, carrier, slot = installed("llama3.1")
    plain = text_of(carrier, QUESTION)
    assert text_of(carrier, (message for message in QUESTION)) == plain
    assert text_of(carrier, [Message(**QUESTION[0])]) == plain
    assert text_of(carrier, tuple(QUESTION)) == plain
    call = {**SHAPES["tool call and result"].messages[2], "content": None}
    text = text_of(carrier, [*QUESTION, call, SHAPES["tool call and result"].messages[3]])
    assert text.count(slot.text) == 1
    batch = carrier.apply_chat_template([QUESTION, QUESTION], return_dict=True, padding=True, return_tensors="pt")
    assert [soft_ids(slot, row) for row in batch["input_ids"].tolist()] == [list(slot.token_ids)] * 2


def without_checks(carrier):
    """Return the tokenizer as transformers loads it from a saved folder."""
    alone = copy.copy(carrier)
    alone.__class__ = PreTrainedTokenizerFast
    return alone


def hostile(rng, slot, depth=0):
    """Return a content made of placeholders, pieces of them and words, as a text or as parts of many kinds."""
    token = rng.choice(slot.tokens)
    cut = rng.randrange(1, len(token))
    words = [
        token,
        slot.text,
        token[:cut],
        token[cut:],
        token[:3] + token + token[3:],
        "bread",
        " ",
        "\n",
        "<image>",
        "<~>",
    ]
    words += ["babelguardmark", "zsbabelguardmark", "zubabelguardmark", "zq", "<channel|>", "</think>", "soft", "|"]
    text = "".join(rng.choice(words) for _ in range(rng.randrange(1, 6)))
    if depth or rng.random() < 0.6:
        return text
    parts = [rng.choice([{"type": "text", "text": hostile(rng, slot, 1)}, hostile(rng, slot, 1), {"type": "image"}])]
    parts += [
        {"type": "text", "text": token[:cut]},
        {"type": "x", "text": "X", token: token},
        {"type": "text", "text": token[cut:]},
    ]
    return parts


def hostile_chat(rng, slot):
    token = rng.choice(slot.tokens)
    roles = ["user", "assistant", "system", "tool", "developer", token, token[2:-2], "babelguard_0"]
    messages = [{"role": "user", "content": hostile(rng, slot)}]
    for _ in range(rng.randrange(4)):
        message = {"role": rng.choice(roles), "content": hostile(rng, slot), "name": hostile(rng, slot, 1)}
        if rng.random() < 0.3:
            function = {"name": hostile(rng, slot, 1), "arguments": {hostile(rng, slot, 1): hostile(rng, slot, 1)}}
            message["tool_calls"] = [{"type": "function", "id": token, "function": function}]
        messages.insert(rng.randrange(len(messages) + 1), message)
    described = {"name": hostile(rng, slot, 1), "description": hostile(rng, slot, 1), "parameters": {token: [token]}}
    given = {
        "tools": [{"type": "function", "function": described}],
        "documents": [{"title": hostile(rng, slot, 1), "text": hostile(rng, slot, 1), token: token}],
        "date_string": hostile(rng, slot, 1),
        "reasoning_effort": hostile(rng, slot, 1),
    }
    return messages, {key: value for key, value in given.items() if rng.random() < 0.4}


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_text_becomes_a_placeholder(name):
    tokenizer, carrier, slot = installed(name)
    alone = without_checks(carrier)
    rng, rendered = random.Random(name), 0
    for _ in range(60):
        messages, given = hostile_chat(rng, slot)
        try:
            bare = tokenizer.apply_chat_template(messages, tokenize=False, **given)
        except Exception:  # the template refuses the chat
            bare = None
        try:
            ids = carrier.apply_chat_template(messages, return_dict=False, **given)
        except UserError:
            continue
        except Exception:
            assert bare is None
            continue
        rendered += 1
        assert soft_ids(slot, ids) == list(slot.token_ids)
        # The template alone, as other software renders it, is as safe.
        ids = alone.apply_chat_template(messages, return_dict=False, **given)
        assert soft_ids(slot, ids) == list(slot.token_ids)
    assert rendered > 10


def test_a_role_cannot_be_written_as_a_placeholder():
    _, carrier, slot = installed("phi4")
    assert slot.tokens[0] == "<|babelguard_0|>"
    for role in ("babelguard_0", "babelguard_1"):
        ids = carrier.apply_chat_template([{"role": role, "content": "x"}, *QUESTION], return_dict=False)
        assert soft_ids(slot, ids) == list(slot.token_ids)


def test_halves_around_a_part_that_is_skipped_do_not_meet():
    _, carrier, slot = installed("skips parts")
    token = slot.tokens[0]
    for middle in ({"type": "x", "text": "X"}, {"type": "x"}, ""):
        content = [{"type": "image"}, {"type": "text", "text": token[:4]}, middle, {"type": "text", "text": token[4:]}]
        ids = carrier.apply_chat_template([{"role": "user", "content": content}], return_dict=False)
        assert soft_ids(slot, ids) == list(slot.token_ids)


def test_raw_text_reaches_the_placeholders_only_as_a_complete_prompt():
    _, carrier, slot = installed("qwen3")
    for text in (slot.tokens[0], f"a {slot.tokens[1]} b", slot.tokens[0] + slot.tokens[1], slot.text[1:]):
        assert soft_ids(slot, carrier(text)["input_ids"]) == []
        assert soft_ids(slot, carrier.encode(text)) == []
        assert not set(carrier.tokenize(text)) & set(slot.tokens)
        assert soft_ids(slot, carrier([text, text])["input_ids"][1]) == []
    chat = render(carrier, QUESTION)
    assert soft_ids(slot, carrier(chat + slot.tokens[0] + slot.text)["input_ids"]) == list(slot.token_ids)


def test_one_sequence_holds_the_prompt_once():
    _, carrier, slot = installed("qwen3")
    soft, once = slot.text, list(slot.token_ids)
    for ids in (
        carrier(soft, soft)["input_ids"],
        carrier(soft + soft, f"a {soft}")["input_ids"],
        carrier("a", text_pair=soft + soft)["input_ids"],
        carrier([soft, "a", soft], is_split_into_words=True)["input_ids"],
        carrier([["a", soft], [soft]], is_split_into_words=True)["input_ids"][0],
        carrier([[soft, soft]])["input_ids"][0],
        carrier(text_target=soft + soft)["input_ids"],
        carrier.encode(soft, soft),
        carrier._encode_plus(soft + soft)["input_ids"],
        carrier.convert_tokens_to_ids(carrier.tokenize(soft, soft)),
    ):
        assert soft_ids(slot, ids) == once
    # The texts of a batch are chats of their own.
    for batch in (carrier([soft, soft]), carrier([soft, "a"], ["b", soft]), carrier([(soft, soft), ("a", soft)])):
        assert [soft_ids(slot, row) for row in batch["input_ids"]] == [once, once]
    assert carrier("a", "b")["input_ids"] == carrier(["a"], ["b"])["input_ids"][0]


def test_a_class_without_placeholders_is_the_tokenizers_own(tmp_path):
    _, carrier, slot = installed("qwen3")
    carrier.save_pretrained(tmp_path)
    again = type(carrier).from_pretrained(tmp_path)
    assert text_of(again, QUESTION) == text_of(carrier, QUESTION)
    assert again(slot.text)["input_ids"] == list(slot.token_ids)


@dataclass
class Said:
    role: str
    content: str


def test_messages_may_be_dataclasses():
    _, carrier, slot = installed("qwen3")
    chat = [Said(**QUESTION[0]), Said("assistant", f"Knead {slot.tokens[0]}")]
    text = text_of(carrier, chat, continue_final_message=True)
    assert text == text_of(carrier, [vars(message) for message in chat], continue_final_message=True)


def test_a_chat_that_lost_the_prompt_is_refused():
    _, carrier, _ = installed("qwen3")
    with pytest.raises(UserError, match="exactly once"):
        carrier.apply_chat_template(QUESTION, truncation=True, max_length=0)
    with pytest.raises(UserError, match="exactly once"):
        carrier.apply_chat_template(QUESTION, truncation=True, max_length=5)
    with pytest.raises(UserError, match="exactly once"):
        carrier.apply_chat_template(QUESTION, chat_template=QWEN3)
    with pytest.raises(UserError, match="exactly once"):
        carrier.apply_chat_template([QUESTION, QUESTION], chat_template=QWEN3, tokenize=False)
    cut = carrier.apply_chat_template(QUESTION, truncation=True, max_length=5, allow_undefended=True)
    assert len(cut["input_ids"]) == 5


def test_a_late_text_of_the_system_does_not_remove_the_prompt():
    """Templates that write only one of several system texts, or write it behind a user text."""
    late = [*QUESTION, {"role": "system", "content": "Late."}]
    _, carrier, slot = with_template(LAST_SYSTEM)
    assert f"{slot.text}{SEPARATOR}How do I bake bread?" in text_of(carrier, late)
    _, carrier, slot = with_template(MISTRAL_NEMO)
    turns = [*QUESTION, {"role": "assistant", "content": "Knead it."}, {"role": "user", "content": "And then?"}]
    for chat in (turns, turns[:2], [{"role": "system", "content": "Be brief."}, *turns]):
        text = text_of(carrier, chat)
        assert f"[INST]{slot.text}{SEPARATOR}How do I" in text
        assert ("Be brief." in text) == (chat[0]["role"] == "system")


@pytest.mark.parametrize("cut", [".split('\\n')[-1]", ".split(':')[-1]"])
def test_a_piece_of_a_user_text_does_not_stand_in_front_of_the_prompt(cut):
    ask = {"role": "user", "content": "Trans late: this\nattack text here"}
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('No system.') }}{% endif %}"
    for beginning in ("", refuses):
        source = beginning + "<topic>{{ messages[-1].content" + cut + " }}</topic>" + LINES
        _, carrier, slot = with_template(source)
        for chat in ([ask], [{"role": "system", "content": "Be brief."}, ask]):
            text = text_of(carrier, chat)
            assert not any(word in text.split(slot.text)[0] for word in ("attack", "here", "late"))
        with pytest.raises(UserError, match="no place"):
            text_of(carrier, [*QUESTION, REPLY, ask])


MAPPINGS = """{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No system.') }}{% endif %}<|{{ m.role }}|>
{%- if m.content is mapping %}{{ m.content.text }}{% elif m.content is string or m.content is number %}{{ m.content }}
{%- else %}{% for part in m.content %}{{ part['text'] }}{{ part['content'] }}{% endfor %}{% endif %}{% endfor %}"""
KIND = {"text": "Be kind."}
ODD = [KIND, 7, [["Be kind."]], [{"type": "text", "content": "Be kind."}], [{"content": "Be kind."}]]


@pytest.mark.parametrize("role", ["system", "user"])
@pytest.mark.parametrize("content", ODD)
def test_a_system_message_that_cannot_be_carried_is_refused(content, role):
    _, carrier, slot = with_template(MAPPINGS)
    chat = [{"role": "system", "content": "Be brief."}, QUESTION[0]]
    chat[role == "user"] = {"role": role, "content": content}
    if role == "user" and isinstance(content, list):  # the parts are written as the model's template does
        assert text_of(carrier, chat).startswith(f"<|user|>{slot.text}{SEPARATOR}Be brief.")
        return
    with pytest.raises(UserError, match="cannot be joined"):
        text_of(carrier, chat)
    with pytest.raises(TemplateError, match="No system"):
        text_of(carrier, chat, allow_undefended=True)
    if content == KIND:  # such a user text alone is written as the model's template does
        text = text_of(carrier, [{"role": "user", "content": content}])
        assert text == f"<|user|>{slot.text}{SEPARATOR}Be kind."


@pytest.mark.parametrize("content", [KIND, 7])
def test_a_system_message_that_is_not_a_text_is_kept(content):
    tokenizer, carrier, slot = with_template(MAPPINGS.replace("{{ raise_exception('No system.') }}", ""))
    chat = [{"role": "system", "content": content}, *QUESTION]
    assert text_of(carrier, chat) == text_of(tokenizer, chat).replace(">", f">{slot.text}{SEPARATOR}", 1)


@pytest.mark.parametrize("cut", ["[-12:]", "[2:9]", " | upper"])
def test_a_template_that_begins_with_a_piece_of_every_user_text_is_refused(cut):
    with pytest.raises(UserError, match="does not render the soft tokens exactly once"):
        with_template("<topic>{{ messages[-1].content" + cut + " }}</topic>" + LINES)


def test_a_caption_does_not_stand_in_front_of_the_prompt():
    """A template that writes the pictures of a message in front of its texts."""
    source = """{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No system.') }}{% endif %}<|{{ m.role }}|>
{%- if m.content is string %}{{ m.content }}{% else -%}
{% for part in m.content if part.type == 'image' %}<image {{ part.alt }}>{% endfor -%}
{% for part in m.content if part.type == 'text' %}{{ part.text }}{% endfor %}{% endif %}{% endfor %}"""
    _, carrier, slot = with_template(source)
    text = {"type": "text", "text": "What is this?"}
    chat = [{"role": "user", "content": [{"type": "image", "url": "a.png"}, text]}]
    assert text_of(carrier, chat) == f"<|user|><image >{slot.text}{SEPARATOR}What is this?"
    with pytest.raises(UserError, match="no place"):
        text_of(carrier, [{"role": "user", "content": [{"type": "image", "alt": "attack"}, text]}])


def test_a_vocabulary_with_gaps_is_refused():
    content = json.loads(tiny.byte_tokenizer().to_str())
    vocabulary = content["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary[last] += 20  # the next free id by count is not free, or is followed by a used one
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)), eos_token="a")
    tokenizer.chat_template = QWEN3
    _, slot = install(tokenizer, COUNT, 700)
    assert not set(slot.token_ids) & set(tokenizer.get_vocab().values())
    with pytest.raises(UserError, match="has gaps in its token ids"):
        install(tokenizer, 30, 700)
