"""`babelguard export --to prompt-embeds`: what vLLM makes of the payload are the embeddings of the protected model."""

from __future__ import annotations

import base64
import copy
import io
import json

import pytest
import tiny
import torch
from calls import fail, succeed, user_error

from babelguard.export.openai_messages import read_payload

SENTINEL = "<prompt_embeds>"
CHATS = {
    "a question": [{"role": "user", "content": "How do I bake bread?"}],
    "a system message": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "How?"}],
    "an empty system message": [{"role": "system", "content": ""}, {"role": "user", "content": "How?"}],
    "a system message of parts": [
        {"role": "system", "content": [{"type": "text", "text": "Be short."}]},
        {"role": "user", "content": "How?"},
    ],
    "two turns": [
        {"role": "user", "content": "Hej"},
        {"role": "assistant", "content": "Hej!"},
        {"role": "user", "content": "적은 효모로 빵을 어떻게 굽나요?"},
    ],
}
FAMILIES = ("llama", "qwen2", "qwen3", "gemma3", "granite")


@pytest.fixture(scope="module", params=FAMILIES)
def exported(request, loaded, folders, tmp_path_factory):
    root = tmp_path_factory.mktemp("embeds")
    prompt = tiny.make_prompt(*loaded(request.param))
    prompt.save_pretrained(root / "prompt")
    given = ["--to", "prompt-embeds", "--output", root / "out", "--model", folders(request.param)]
    succeed("export", root / "prompt", *given)
    return request.param, prompt, root / "out"


def as_vllm_reads_it(message):
    """Join the parts of a message as vLLM does with the content format `string`."""
    parts = message["content"]
    if isinstance(parts, list):
        parts = "\n".join(SENTINEL if part["type"] == "prompt_embeds" else part["text"] for part in parts)
    return message | {"content": parts}


def token_ids(tokenizer, messages, **more):
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False, **more)


@torch.no_grad()
@pytest.mark.parametrize("name", CHATS)
def test_the_logits_are_those_of_the_protected_model(exported, loaded, folders, name):
    family, prompt, folder = exported
    model, tokenizer = loaded(family)
    payload, chat = read_payload(folder), CHATS[name]
    # vLLM adds the sentinel to the tokenizer of the base model, and replaces it by as many embeddings as the tensor has rows.
    plain = copy.deepcopy(tokenizer)
    plain.add_special_tokens({"additional_special_tokens": [SENTINEL]})
    ids = token_ids(plain, [as_vllm_reads_it(one) for one in payload.messages(chat)], **payload.chat_template_kwargs)
    rows = torch.load(io.BytesIO(base64.b64decode(payload.part.data)), weights_only=True)
    assert rows.dtype == torch.float32 and rows.shape == prompt.theta.shape and not rows.is_sparse
    place = ids.index(plain.convert_tokens_to_ids(SENTINEL))
    embedding = model.get_input_embeddings()
    head, tail = (embedding(torch.tensor([part], dtype=torch.long))[0] for part in (ids[:place], ids[place + 1 :]))
    found = model(inputs_embeds=torch.cat([head, rows, tail])[None]).logits
    protected, carrier = prompt.protect(*tiny.load_family(folders(family)))
    wanted = token_ids(carrier, chat)
    assert [*ids[:place], *prompt.slot.token_ids, *ids[place + 1 :]] == wanted
    torch.testing.assert_close(found, protected(torch.tensor([wanted])).logits, rtol=1e-5, atol=1e-5)


def test_messages_with_vectors_are_rejected(exported):
    _, _, folder = exported
    payload = read_payload(folder)
    assert "remove it" in user_error(lambda: payload.messages(payload.messages(CHATS["a question"])))


def test_the_card_says_how_to_serve_it_and_what_is_dangerous(exported):
    _, _, folder = exported
    card = (folder / "README.md").read_text()
    assert "--enable-prompt-embeds --chat-template-content-format string" in card
    assert "trusted users" in card and "CVE-2025-62164" in card
    assert set(json.loads((folder / "prompt_embeds.json").read_text())) == {
        "part",
        "default_system",
        "chat_template_kwargs",
    }


def test_a_template_without_a_system_role(tmp_path):
    base = tiny.save_family("mistral", tmp_path / "base")
    model, tokenizer = tiny.load_family(base)
    tokenizer.chat_template = tiny.NO_SYSTEM
    tokenizer.save_pretrained(base)
    tiny.make_prompt(model, tokenizer).save_pretrained(tmp_path / "prompt")
    given = ["--to", "prompt-embeds", "--output", tmp_path / "out", "--model", base]
    assert "has no system role" in fail("export", tmp_path / "prompt", *given)


def test_a_folder_without_a_payload(tmp_path):
    assert "it has no prompt_embeds.json" in user_error(lambda: read_payload(tmp_path))
