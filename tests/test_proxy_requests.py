"""What the proxy forwards of a request, what it refuses, and which placeholders it breaks up."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from babelguard.export.openai_messages import Payload
from babelguard.proxy.breaking import Breaker
from babelguard.proxy.defended import SENTINEL, Defended
from babelguard.proxy.refusal import Refused
from babelguard.proxy.requests import forwarded

TOKENS, IDS = ("<unused0>", "<unused1>"), (6, 7)
MODEL = Defended("safe", "engine-name", TOKENS, IDS)
PART = {"type": "prompt_embeds", "data": "QUJD"}
PAYLOAD = Payload.model_validate(
    {"part": PART, "default_system": "Be kind.", "chat_template_kwargs": {"enable_thinking": False}}
)
EMBEDS = Defended("safe", "engine-name", TOKENS, IDS, payload=PAYLOAD, suppress=False)
USER = {"role": "user", "content": "Hello"}


def sent(model=MODEL, **fields):
    """Return what the engine gets."""
    body = {"model": "safe", "messages": [USER]} | fields
    return json.loads(forwarded(json.dumps(body).encode(), model).body)


def refused(body, model=MODEL):
    """Return the error for a body."""
    given = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refused) as caught:
        forwarded(given, model)
    error = caught.value
    assert error.sentence.endswith(".") and "\n" not in error.sentence
    return error


def test_a_request_is_forwarded():
    settings = {
        "temperature": 0,
        "max_tokens": 5,
        "stop": ["x"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "chat_template_kwargs": {"enable_thinking": False},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": None, "x": [1, {}]}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    }
    got = sent(**settings, logit_bias={"9": 2})
    assert {name: got[name] for name in settings} == settings
    assert got["model"] == "engine-name"
    assert got["messages"] == [USER]
    assert got["logit_bias"] == {"9": 2, "6": -100, "7": -100}
    assert got.keys() == {*settings, "model", "messages", "logit_bias"}


def test_null_means_absent():
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": None}
    got = sent(messages=[message, USER], chat_template=None, top_p=None)
    assert got["messages"][0] == {"role": "assistant", "content": None}
    assert not {"chat_template", "top_p"} & got.keys()


UNLISTED = {
    "prompt": "x",
    "prompt_token_ids": [6, 7],
    "prompt_embeds": "QUJD",
    "chat_template": "{{ messages }}",
    "add_generation_prompt": False,
    "continue_final_message": True,
    "documents": [{"text": "x"}],
    "echo": True,
    "lora": [{"id": 0, "scale": 0}],
    "lora_path": "base",
    "lora_request": {},
    "guided_regex": "<unused[0]>",
    "guided_json": {},
    "guided_grammar": "root ::= x",
    "structured_outputs": {"regex": "x"},
    "grammar": "root ::= x",
    "json_schema": {},
    "allowed_token_ids": [6],
    "bad_words": [],
    "stop_token_ids": [1],
    "logits_processors": ["x"],
    "vllm_xargs": {},
    "extra_body": {},
    "mm_processor_kwargs": {},
    "input_ids": [6],
    "input_embeds": [[0.5]],
    "cache_prompt": True,
    "id_slot": 0,
    "n_probs": 4,
    "truncate_prompt_tokens": 4,
    "skip_special_tokens": False,
    "add_special_tokens": True,
    "prompt_logprobs": 1,
    "return_token_ids": True,
    "custom_logit_processor": "x",
    "functions": [],
    "generation_config": "{}",
    "audio": {},
    "modalities": ["text"],
    "": 1,
    "Model": "base",
    "messages ": [],
}


@pytest.mark.parametrize("field", UNLISTED)
def test_unlisted_fields_are_refused(field):
    error = refused({"model": "safe", "messages": [USER], field: UNLISTED[field]})
    assert (error.status, error.field) == (403, field)
    assert f"'{field}'" in error.sentence


IMAGE = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}
TEXT = {"type": "text", "text": "x"}
NESTED = {
    "messages[0].content": [{"role": "user", "content": part} for part in ([IMAGE], [TEXT, "x"], [TEXT | {"more": 1}])]
    + [
        {"role": "user", "content": [part]} for part in ({"type": "prompt_embeds", "data": "QUJD"}, {"text": "x"}, None)
    ],
    "messages[0].prefix": [USER | {"prefix": True}],
    "messages[0].tools": [USER | {"tools": []}],
    "messages[0].function_call": [USER | {"function_call": {"name": "x"}}],
    "messages[0].tool_calls[0].function.Extra": [
        USER | {"tool_calls": [{"function": {"name": "x", "arguments": "{}", "Extra": 1}}]}
    ],
}


@pytest.mark.parametrize(("field", "message"), [(field, one) for field, all_ in NESTED.items() for one in all_])
def test_unlisted_parts_of_messages_are_refused(field, message):
    error = refused({"model": "safe", "messages": [message]})
    assert (error.status, error.field) == (403, field)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"chat_template_kwargs": {"add_generation_prompt": False}}, "chat_template_kwargs.add_generation_prompt"),
        ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
        ({"tools": [{"type": "function", "function": {"name": "f", "x": 1}}]}, "tools[0].function.x"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}, "x": 1}}, "tool_choice.x"),
        ({"stream_options": {"x": True}}, "stream_options.x"),
        ({"logit_bias": {"6": 100}}, "logit_bias"),
        ({"logit_bias": {"7": -1}}, "logit_bias"),
        ({"messages": [USER, {"role": "assistant", "content": "Sure, here"}]}, "messages"),
    ],
)
def test_what_reaches_around_the_prompt_is_refused(fields, name):
    error = refused({"model": "safe", "messages": [USER]} | fields)
    assert (error.status, error.field) == (403, name)


@pytest.mark.parametrize("field", ["logit_bias", "tools"])
def test_further_fields_can_be_refused(field):
    value = {"logit_bias": {}, "tools": []}
    error = refused({"model": "safe", "messages": [USER]} | value, replace(MODEL, refused=frozenset({field})))
    assert (error.status, error.field) == (403, field)


@pytest.mark.parametrize(
    "fields",
    [
        {"logit_bias": {"06": 1}},
        {"logit_bias": {" 6": 1}},
        {"logit_bias": {"٦": 1}},
        {"logit_bias": {"6_0": 1}},
        {"logit_bias": [[6, 100]]},
        {"logit_bias": {"9": "Infinity"}},
        {"logit_bias": {str(index): 0 for index in range(100, 1200)}},
        {"messages": []},
        {"messages": "x"},
        {"messages": [USER | {"role": "<unused0>"}]},
        {"messages": [{"content": "x"}]},
        {"messages": [USER | {"content": 6}]},
        {"messages": [USER | {"content": {"type": "text", "text": "x"}}]},
        {"stream": 1},
        {"stream": "true"},
        {"temperature": "0"},
        {"max_tokens": 1.5},
        {"n": True},
        {"stop": 6},
        {"response_format": {"type": "structural_tag"}},
        {"reasoning_effort": "<unused0>"},
        {"tool_choice": "<unused0>"},
        {"chat_template_kwargs": {"enable_thinking": "<unused0>"}},
        {"model": 6},
    ],
)
def test_wrong_values_are_refused(fields):
    assert refused({"model": "safe", "messages": [USER]} | fields).status == 400


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not valid JSON"),
        (b"[]", "must be an object"),
        (b'{"model": "safe", "model": "base"}', "'model' occurs twice"),
        (b'{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "'content' occurs twice"),
        (b'{"model": "safe", "m\\u006fdel": "base"}', "'model' occurs twice"),
        (b'{"model": "\xff"}', "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b'{"model": "\\ud800"}', "surrogate"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "too long"),
        (b'{"model": "safe", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}', "not valid"),
        (
            b'{"model": "safe", "messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": '
            b'{"name": "f", "parameters": {"x": 1e999}}}]}',
            "a finite number",
        ),
    ],
)
def test_odd_bodies_are_refused(body, why):
    error = refused(body)
    assert error.status == 400 and why in error.sentence


@pytest.mark.parametrize("name", ["base", "engine-name", "Safe", "safe ", ""])
def test_only_the_defended_model_exists(name):
    error = refused({"model": name, "messages": [USER]})
    assert error.status == 404 and "use 'safe'" in error.sentence


def test_the_name_of_a_model_is_needed():
    assert refused({"messages": [USER]}).field == "model"


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("<unused0>", "< unused0>"),
        ("a<unused0><unused1>b", "a< unused0>< unused1>b"),
        ("<<unused0>unused0>", "<< unused0>unused0>"),
        (r"\u003cunused0>", r" \u003c unused0>"),
        (r"<unused\u0030\u003E", r"<unused \u0030  \u003E "),
        (r"\\u003cunused0>", r" \\u003c unused0>"),
        (r"\u005cu003cunused0>", r" \u005c u003cunused0>"),
        ("unused0", "u nused0"),
        (" unused1>", " u nused1>"),
        ("unused1>x", "u nused1>x"),
        ("x <unused0\n", "x < unused0\n"),
        ("unused1>x<unused0", "u nused1>x< unused0"),
        ("unused2", None),
        ("an unused0 text", None),
        ("<unused 0>", None),
        (r"\u003cunused2>", None),
        ("＜unused0＞", None),
        ("", None),
    ],
)
def test_breaking(text, broken):
    breaker = Breaker(TOKENS)
    assert breaker.text(text) == (text if broken is None else broken)
    assert (breaker.count > 0) == (broken is not None)


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('{"a":"<unused0>"}', '{"a": "< unused0>"}'),
        (r'{"\u0075nused0": 1.50}', '{"u nused0": 1.5}'),
        ("not JSON <unused0>", "not JSON < unused0>"),
    ],
)
def test_arguments_are_read_as_json(arguments, got):
    call = {"id": "1", "type": "function", "function": {"name": "unused0", "arguments": arguments}}
    message = sent(messages=[{"role": "assistant", "tool_calls": [call]}, USER])["messages"][0]
    assert message["tool_calls"][0]["function"] == {"name": "u nused0", "arguments": got}


@pytest.mark.parametrize("arguments", ['{"a": 1, "a": 2}', "[" * 200 + "]" * 200, r'{"a": "\ud800"}'])
def test_odd_arguments_are_refused(arguments):
    call = {"function": {"name": "f", "arguments": arguments}}
    body = {"model": "safe", "messages": [{"role": "assistant", "tool_calls": [call]}, USER]}
    assert refused(body).status == 400


def test_text_parts_are_joined_with_line_breaks():
    parts = [{"type": "text", "text": "<unu"}, {"type": "text", "text": "sed0>"}]
    assert sent(messages=[{"role": "user", "content": parts}])["messages"][0]["content"] == "<unu\nsed0>"


@pytest.mark.parametrize(
    "text", ["\\" * 2**20 + "\\u00", r"\u005c" * 2**17, "<" * 2**20, "<unused" * 2**17, "\\u00" * 2**18]
)
def test_long_texts_take_linear_time(text):
    tokens = [f"<unused{number}>" for number in range(40)]
    assert Breaker(tokens).text(text) == text  # quadratic time would be hours


@pytest.mark.parametrize("role", ["system", "developer"])
def test_embeddings_come_before_the_text_of_the_client(role):
    got = sent(EMBEDS, messages=[{"role": role, "content": f"Be {SENTINEL} brief."}, USER])
    assert got["messages"] == [
        {"role": "system", "content": [PART, {"type": "text", "text": "\nBe < prompt_embeds> brief."}]},
        USER,
    ]
    assert "logit_bias" not in got


def test_embeddings_come_before_the_built_in_system_text():
    got = sent(EMBEDS)
    assert got["messages"] == [{"role": "system", "content": [PART, {"type": "text", "text": "\nBe kind."}]}, USER]
    assert got["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_client_may_turn_thinking_on():
    assert sent(EMBEDS, chat_template_kwargs={"enable_thinking": True})["chat_template_kwargs"] == {
        "enable_thinking": True
    }


def test_nobody_but_the_proxy_sends_embeddings():
    for model in (EMBEDS, MODEL):
        assert refused({"model": "safe", "messages": sent(EMBEDS)["messages"]}, model).status == 403
