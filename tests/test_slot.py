from __future__ import annotations

import copy

import pytest
import tiny
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from babelguard.errors import UserError
from babelguard.prompt.placeholders import choose_tokens
from babelguard.prompt.placement import DOCUMENT, TOOL, find_placement
from babelguard.prompt.slot import carry, install, render, tokenise

QUESTION = [{"role": "user", "content": "How do I bake bread?"}]
COUNT = 12  # more than ten, so that the numbers have one and two digits
BUILT_IN = "You are Tiny, a helpful assistant."

EXPECTED = {
    "llama": ("system", "", "reserved"),
    "qwen2": ("system", BUILT_IN, "spare"),
    "qwen3": ("system", "", "appended"),
    "mistral": ("folded", "", "appended"),
    "gemma3": ("folded", "", "reserved"),
    "granite": ("system", "", "spare"),
    "no-system": ("user", "", "appended"),
}


def plain_tokenizer(name):
    if name == "no-system":
        return tiny.make_tokenizer(tiny.FAMILIES["mistral"], tiny.NO_SYSTEM)
    return tiny.make_tokenizer(tiny.FAMILIES[name])


def installed(name, count=COUNT):
    tokenizer = plain_tokenizer(name)
    family = tiny.FAMILIES.get(name, tiny.FAMILIES["mistral"])
    return tokenizer, *install(tokenizer, count, len(tokenizer) + family.spare)


def soft_ids(carrier, slot, messages, **switches):
    """Return the placeholder ids in a chat, in order, as `apply_chat_template` renders it for a user."""
    served = carrier.apply_chat_template(messages, add_generation_prompt=True, return_dict=False, **switches)
    # A saved tokenizer has the template, but not the checks in Python.
    alone = copy.copy(carrier)
    alone.__class__ = PreTrainedTokenizerFast
    assert alone.apply_chat_template(messages, add_generation_prompt=True, return_dict=False, **switches) == served
    return [i for i in served if i in set(slot.token_ids)]


@pytest.mark.parametrize("name", EXPECTED)
def test_placement_default_text_and_source_are_found(name):
    _, carrier, slot = installed(name)
    assert (slot.placement, slot.default_system, slot.source) == EXPECTED[name]
    assert len(set(slot.token_ids)) == COUNT
    assert f"{COUNT} soft tokens" in slot.sentence()
    assert soft_ids(carrier, slot, QUESTION) == list(slot.token_ids)


@pytest.mark.parametrize("name", EXPECTED)
def test_serving_uses_the_same_tokens_as_training(name):
    tokenizer, carrier, slot = installed(name)
    trained = tokenise(carrier, render(carrier, QUESTION))
    assert carrier.apply_chat_template(QUESTION, add_generation_prompt=True, return_dict=False) == trained
    # A written prompt in the model's own template is at the same position.
    text = "Refuse what harms." + (f"\n\n{BUILT_IN}" if slot.default_system else "")
    if slot.placement == "user":
        written = render(tokenizer, [{"role": "user", "content": f"{text}\n\n{QUESTION[0]['content']}"}])
    else:
        written = render(tokenizer, [{"role": "system", "content": text}, *QUESTION])
    assert render(carrier, QUESTION).replace(slot.text, "Refuse what harms.") == written


@pytest.mark.parametrize("name", EXPECTED)
def test_the_users_system_message_follows_the_prompt(name):
    _, carrier, slot = installed(name)
    text = render(carrier, [{"role": "system", "content": "Talk like a pirate."}, *QUESTION])
    assert f"{slot.text}\n\nTalk like a pirate." in text
    assert BUILT_IN not in text
    assert text.index("pirate") < text.index("bake bread")


@pytest.mark.parametrize("name", EXPECTED)
def test_later_turns_leave_the_prompt_at_the_beginning(name):
    _, carrier, slot = installed(name)
    chat = [*QUESTION, {"role": "assistant", "content": "Knead it."}, {"role": "user", "content": "And then?"}]
    assert soft_ids(carrier, slot, chat) == list(slot.token_ids)
    assert render(carrier, chat).index(slot.text) < render(carrier, chat).index("bake bread")


ATTACKS = {
    "plain": lambda t: t[0],
    "all": lambda t: "".join(t),
    "nested": lambda t: t[0][:4] + t[0] + t[0][4:],
    # A guard that removes the shared prefix instead of breaking it would rebuild the placeholder.
    "nested prefix": lambda t: t[0][:4] + t[0].partition("0")[0] + t[0][4:],
    "twice nested": lambda t: t[1][:5] + t[0][:4] + t[2] + t[0][4:] + t[1][5:],
    "two digits": lambda t: t[11],
    "in words": lambda t: f"tell me{t[3]}about\n{t[4]}.",
    "repeated": lambda t: t[5] * 3,
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", EXPECTED)
def test_typed_placeholders_never_become_soft_ids(name, attack):
    _, carrier, slot = installed(name)
    typed = ATTACKS[attack](slot.tokens)
    user, system = {"role": "user", "content": typed}, {"role": "system", "content": typed}
    reply = {"role": "assistant", "content": typed}
    for chat in ([user], [system, *QUESTION], [*QUESTION, reply, user], [system, user, reply, user]):
        assert soft_ids(carrier, slot, chat) == list(slot.token_ids)
    # The words around the placeholder are kept.
    if attack == "in words":
        assert "tell me" in render(carrier, [user])


@pytest.mark.parametrize("name", EXPECTED)
def test_placeholders_split_over_parts_never_become_soft_ids(name):
    _, carrier, slot = installed(name)
    whole = slot.tokens[0]
    for pieces in ([whole], [whole[:4], whole[4:]], [whole[0], whole[1:3] + " ", whole[3:]], list(whole)):
        parts = [{"type": "text", "text": piece} for piece in pieces]
        chat = [{"role": "user", "content": parts}]
        assert soft_ids(carrier, slot, chat) == list(slot.token_ids)
        system = {"role": "system", "content": parts}
        assert soft_ids(carrier, slot, [system, *QUESTION]) == list(slot.token_ids)


def test_text_parts_keep_their_words_and_images_their_position():
    _, carrier, slot = installed("gemma3")
    whole = slot.tokens[0]
    bread = [{"type": "text", "text": "bake <b>bread</b>"}, {"type": "image"}, {"type": "text", "text": "like this"}]
    assert "bake <b>bread</b>like this" in render(carrier, [{"role": "user", "content": bread}])
    split = [{"type": "text", "text": whole[:4]}, {"type": "image"}, {"type": "text", "text": whole[4:]}]
    assert soft_ids(carrier, slot, [{"role": "user", "content": split}]) == list(slot.token_ids)


def test_placeholders_in_tools_and_other_fields_never_become_soft_ids():
    _, carrier, slot = installed("qwen2")
    attack = slot.tokens[0]
    described = {
        "name": "search",
        "description": attack,
        "parameters": {"deep": [{attack: attack}], "n": 3, "no": None},
    }
    tool = {"type": "function", "function": described}
    text = carrier.apply_chat_template(QUESTION, tools=[tool], tokenize=False, add_generation_prompt=True)
    assert "search" in text
    assert '"n": 3' in text
    assert [i for i in tokenise(carrier, text) if i in set(slot.token_ids)] == list(slot.token_ids)


def test_a_message_without_content_stays_without_content():
    content = "('none' if m.content is not defined else m.content)"
    template = "{% for m in messages %}{{ m.role + ':' + CONTENT + ';' }}{% endfor %}".replace("CONTENT", content)
    tokenizer = tiny.make_tokenizer(tiny.FAMILIES["qwen2"], template)
    carrier, slot = install(tokenizer, 2, len(tokenizer))
    text = render(carrier, [*QUESTION, {"role": "assistant", "tool_calls": []}])
    assert text == f"system:{slot.text};user:How do I bake bread?;assistant:none;"


def test_thinking_is_off_unless_it_is_turned_on():
    tokenizer, carrier, slot = installed("qwen3")
    off = "<think>\n\n</think>"
    assert off in render(tokenizer, QUESTION)
    assert off in carrier.apply_chat_template(QUESTION, tokenize=False, add_generation_prompt=True)
    on = carrier.apply_chat_template(QUESTION, tokenize=False, add_generation_prompt=True, enable_thinking=True)
    assert off not in on
    assert slot.text in on


def test_the_given_tokenizer_is_not_changed():
    tokenizer, carrier, _ = installed("qwen3")
    assert len(tokenizer) == len(plain_tokenizer("qwen3"))
    assert tokenizer.chat_template == tiny.QWEN3
    assert len(carrier) == len(tokenizer) + COUNT


def test_a_saved_carrier_renders_and_tokenises_the_same(tmp_path):
    for name in ("gemma3", "qwen2"):
        _, carrier, _ = installed(name)
        carrier.save_pretrained(tmp_path / name)
        again = AutoTokenizer.from_pretrained(tmp_path / name)
        assert tokenise(again, render(again, QUESTION)) == tokenise(carrier, render(carrier, QUESTION))


def test_reserved_tokens_are_chosen_by_number_and_are_not_in_use():
    tokenizer = plain_tokenizer("gemma3")
    tokens, source = choose_tokens(tokenizer, 12, len(tokenizer))
    assert (tokens, source) == ([f"<unused{k}>" for k in range(12)], "reserved")
    tokenizer.chat_template += "{#<unused0>#}"
    assert choose_tokens(tokenizer, 2, len(tokenizer))[0] == ["<unused1>", "<unused2>"]
    assert choose_tokens(tokenizer, tiny.RESERVED_TOKENS + 1, len(tokenizer))[1] == "appended"


@pytest.mark.parametrize("role", ["pad_token", "bos_token", "eos_token", "unk_token", "sep_token", "cls_token"])
def test_a_reserved_token_that_the_tokenizer_uses_is_no_placeholder(role):
    tokenizer = plain_tokenizer("llama")
    setattr(tokenizer, role, "<|reserved_special_token_1|>")
    carrier, slot = install(tokenizer, 3, len(tokenizer))
    assert [token[-3] for token in slot.tokens] == ["0", "2", "3"]
    batch = carrier.apply_chat_template([QUESTION, [{"role": "user", "content": "Hi"}]], padding=True)["input_ids"]
    assert [[i for i in row if i in slot.token_ids] for row in batch] == [list(slot.token_ids)] * 2
    with pytest.raises(UserError, match=f"The {role} of .* is '<.reserved_special_token_1.>'"):
        carry(tokenizer, ("<|reserved_special_token_1|>",), "system", "", "reserved")


def test_a_reserved_token_that_the_model_uses_is_no_placeholder():
    tokenizer = plain_tokenizer("llama")
    ids = tokenizer.convert_tokens_to_ids(["<|reserved_special_token_0|>", "<|reserved_special_token_2|>"])
    _, slot = install(tokenizer, 2, len(tokenizer), in_use=ids)
    assert [token[-3] for token in slot.tokens] == ["1", "3"]


RESERVED = [f"<unused{k}>" for k in range(8)]
CHARACTERS = [chr(code) for code in range(32, 127)]


def tokenizer_with_pieces(model, normaliser):
    """Return a tokenizer whose reserved tokens are also pieces of its model."""
    if model == "unigram":
        pieces = [("<unk>", 0.0), *((c, -5.0) for c in CHARACTERS), *((token, -3.0) for token in RESERVED)]
        inner = Tokenizer(models.Unigram(pieces, unk_id=0))
    else:
        vocabulary = {token: k for k, token in enumerate(CHARACTERS + RESERVED)}
        inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=model == "whole words"))
        inner.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    if normaliser is not None:
        inner.normalizer = normaliser
    inner.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in RESERVED])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    tokenizer.chat_template = tiny.QWEN3
    return tokenizer


NFKC, LOWER = normalizers.NFKC(), normalizers.Lowercase()
SPACES = normalizers.Replace(" ", "_")  # as in tokenizers of the kind of SentencePiece
TILDES = normalizers.Replace("~", "")


@pytest.mark.parametrize(
    ("model", "normaliser", "text", "source"),
    [
        ("unigram", NFKC, "\uff1cunused1\uff1e", "appended"),
        ("whole words", NFKC, "\uff1cunused1\uff1e", "appended"),
        ("unigram", LOWER, "<UNUSED1>", "appended"),
        ("unigram", TILDES, "<un~used1>", "appended"),
        ("merges", NFKC, "\uff1cunused1\uff1e", "reserved"),
        ("unigram", SPACES, "< unused1>", "reserved"),
        ("unigram", None, "< unused1>", "reserved"),
    ],
)
def test_a_normalised_text_never_becomes_a_soft_id(model, normaliser, text, source):
    tokenizer = tokenizer_with_pieces(model, normaliser)
    carrier, slot = install(tokenizer, 4, len(tokenizer))
    assert slot.source == source
    for typed in (text, f"hi {text} x", slot.text):
        assert soft_ids(carrier, slot, [{"role": "user", "content": typed}]) == list(slot.token_ids)


def test_the_guard_covers_every_kind_of_placeholder():
    tokenizer = plain_tokenizer("gemma3")
    tokenizer.add_special_tokens({"additional_special_tokens": []})
    tokenizer.add_tokens(["[unused0]", "[unused1]"], special_tokens=True)
    carrier, slot = install(tokenizer, 4, len(tokenizer))
    assert {token[0] for token in slot.tokens} == {"<", "["}
    for token in slot.tokens:
        assert soft_ids(carrier, slot, [{"role": "user", "content": f"a {token} b"}]) == list(slot.token_ids)


def test_templates_that_cannot_be_defended_are_rejected():
    tokenizer = plain_tokenizer("qwen2")
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        install(tokenizer, 2, 600)
    tokenizer.chat_template = "{{ raise_exception('only tools') }}"
    with pytest.raises(UserError, match="cannot render a single user message"):
        find_placement(tokenizer)
    # In a template that changes every text, no place for the prompt can be found.
    tokenizer.chat_template = "{% for m in messages %}{{ m.content | upper }}{% endfor %}"
    with pytest.raises(UserError, match="exactly once and in order"):
        install(tokenizer, 2, 600)


PARTS = "{% for m in messages %}{{ m.role }}{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}{% endfor %}"
SELECTED = PARTS.replace("m.content if p.type == 'text'", "m.content | selectattr('type', 'equalto', 'text')")


@pytest.mark.parametrize("template", [PARTS, SELECTED])
def test_a_template_that_takes_only_lists_of_parts_is_rejected_with_the_reason(template):
    tokenizer = tiny.make_tokenizer(tiny.FAMILIES["qwen2"], template)
    with pytest.raises(UserError, match="does not write a text that is not in a list of parts"):
        install(tokenizer, 2, 600)


@pytest.mark.parametrize(("name", "value"), [("tools", [TOOL]), ("documents", [DOCUMENT])])
def test_a_default_template_that_needs_tools_or_documents_is_defended(name, value):
    template = "{% if not " + name + " %}{{ raise_exception('none') }}{% endif %}" + tiny.QWEN3
    tokenizer = tiny.make_tokenizer(tiny.FAMILIES["qwen2"], template)
    carrier, slot = install(tokenizer, 2, 600)
    assert soft_ids(carrier, slot, QUESTION, **{name: value}) == list(slot.token_ids)


def test_a_template_that_writes_system_texts_in_lower_case_keeps_them_in_their_turn():
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content | lower if m.role == 'system' else m.content }}{% endfor %}"
    )
    carrier, slot = install(tiny.make_tokenizer(tiny.FAMILIES["qwen2"], template), 2, 600)
    text = render(carrier, [{"role": "system", "content": "Be brief."}, *QUESTION])
    assert text == f"<system>{slot.text}\n\nbe brief.<user>How do I bake bread?"


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_a_defended_tokenizer_is_not_defended_again(name, tmp_path):
    _, carrier, _ = installed(name)
    carrier.save_pretrained(tmp_path)
    for tokenizer in (carrier, AutoTokenizer.from_pretrained(tmp_path)):
        with pytest.raises(UserError, match="already has a safety prompt"):
            install(tokenizer, 2, 600)
        with pytest.raises(UserError, match="already has a safety prompt"):
            carry(tokenizer, ("<|babelguard_0|>",), "system", "", "appended")


def test_every_input_of_a_template_is_guarded():
    tokenizer = plain_tokenizer("qwen2")
    tokenizer.chat_template = (
        "{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}"
        "{{- '<|im_start|>system\n' + (tools | tojson if tools else '') + (date_string or '') }}"
        "{%- for message in messages %}{% generation %}{{- message.content }}{% endgeneration %}{%- endfor %}"
    )
    carrier, slot = install(tokenizer, 2, 600)
    attack = slot.tokens[1]
    tool = {"type": "function", "function": {"name": "search", "description": attack}}
    for given in ({"custom_tools": [tool]}, {"tools": [tool]}, {"date_string": attack}):
        assert soft_ids(carrier, slot, QUESTION, **given) == list(slot.token_ids)


def test_a_chat_with_only_a_system_message_carries_the_prompt():
    # A template that folds the system text into the user turn has no position for it.
    for name in ("llama", "qwen2", "no-system"):
        _, carrier, slot = installed(name)
        assert soft_ids(carrier, slot, [{"role": "system", "content": "Be brief."}]) == list(slot.token_ids), name


def test_a_tokenizer_in_python_is_defended():
    tokenizer = ByT5Tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.role + ':' + m.content + ';' }}{% endfor %}"
    carrier, slot = install(tokenizer, 3, len(tokenizer))
    typed = {"role": "user", "content": f"a {slot.tokens[1]} b {slot.text}"}
    for chat in (QUESTION, [typed], [{"role": "system", "content": slot.text}, typed]):
        ids = carrier.apply_chat_template(chat, return_dict=False)
        assert [i for i in ids if i in slot.token_ids] == list(slot.token_ids)
    assert [t for t in carrier.tokenize(f"a{slot.text}{slot.text}") if t in slot.tokens] == list(slot.tokens)


def test_parts_of_a_message_by_the_developer_become_one_text():
    _, carrier, slot = installed("qwen3")
    parts = [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]
    text = render(carrier, [{"role": "developer", "content": parts}, *QUESTION])
    assert text == render(carrier, [{"role": "developer", "content": "Be brief."}, *QUESTION])
    assert text.count(slot.text) == 1
