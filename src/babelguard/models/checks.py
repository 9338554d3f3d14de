"""Reject models that cannot be defended, each with one sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
import transformers

from babelguard.errors import UserError

# Buffers that older versions of transformers saved, and that newer ones compute.
OLD_BUFFERS = ("rotary_emb.inv_freq", ".masked_bias", ".attn.bias")

_QUESTION = "How do I bake bread?"


def drop_marks(tokenizer: Any) -> None:
    """Remove byte-order marks from the chat templates, which would write them into each chat. The tokenizer is changed."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        tokenizer.chat_template = {name: one.lstrip("\ufeff") for name, one in template.items()}
    elif isinstance(template, str):
        tokenizer.chat_template = template.lstrip("\ufeff")


def chat_template_of(tokenizer: Any) -> str:
    """Return the default chat template of a tokenizer.

    Raises:
        UserError: If it has none.
    """
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise UserError(
            f"The tokenizer of {tokenizer.name_or_path or 'this model'} has no chat template, so there is no system "
            "message to defend; choose an instruction-tuned chat model."
        )
    return str(template)


def check_template(tokenizer: Any, name: str) -> list[int]:
    """Reject a tokenizer whose chat template cannot render a question.

    Returns:
        The token ids of a chat with a question.

    Raises:
        UserError: If it has no template, the template has a syntax error, rendering fails, the question is not in the
            rendered chat, or the tokenizer finds no tokens in it.
    """
    chat_template_of(tokenizer)
    chat = [{"role": "user", "content": _QUESTION}]
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        text.encode()
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    except Exception as error:  # a template may raise anything, and render characters that are not Unicode
        why = " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(
            f"The chat template of {name} cannot render a chat ({type(error).__name__}: {why}); correct the template, or "
            "download the model again."
        ) from error
    if _QUESTION not in text:
        raise UserError(
            f"The chat template of {name} leaves out the text of the user, so the model would not see the questions; correct "
            "the template, or download the model again."
        )
    if not ids:
        raise UserError(
            f"The tokenizer of {name} finds no tokens in a chat, as if its vocabulary were empty; download the model again."
        )
    return list(ids)


def check_token_ids(
    model: Any, tokenizer: Any, chats: Iterable[Sequence[int]], name: str, allowed: Collection[int] = ()
) -> None:
    """Reject token ids that the model has no embedding for, as of the tokenizer of another model.

    Args:
        model: The model.
        tokenizer: The tokenizer.
        chats: Token ids of chats.
        name: The name of the model in messages.
        allowed: Ids that need no embedding.

    Raises:
        UserError: Naming the first token without an embedding.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])
    for chat in chats:
        for one in chat:
            if one >= rows and one not in allowed:
                raise UserError(
                    f"The tokenizer of {name} gives the token {tokenizer.convert_ids_to_tokens(one)!r} the id {one}, but the "
                    f"model has only {rows} embeddings; use the tokenizer that belongs to the model."
                )


def check_stops(model: Any, name: str) -> None:
    """Reject a model whose end-of-sequence ids, or ids that it must not generate, are not token ids.

    Raises:
        UserError: Naming what they are.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])
    for setting in ("eos_token_id", "suppress_tokens"):
        found = getattr(model.generation_config, setting, None)
        for one in found if isinstance(found, list) else [] if found is None else [found]:
            if not isinstance(one, int) or isinstance(one, bool) or not 0 <= one < rows:
                raise UserError(
                    f"The {setting} of {name} in generation_config.json or config.json is {repr(one)[:100]}; write the number "
                    f"of a token, from 0 to {rows - 1}."
                )


def check_kind(config: Any, name: str) -> None:
    """Reject encoder-decoder and embedding models, and models without a context.

    Raises:
        UserError: Naming the kind of model.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"{name} is an encoder-decoder model (type '{config.model_type}'); choose a causal chat model.")
    architectures = list(getattr(config, "architectures", None) or [])
    if architectures and not any(
        "CausalLM" in a or "LMHead" in a or "ConditionalGeneration" in a for a in architectures
    ):
        first = str(architectures[0])[:100]
        if hasattr(transformers, first):
            raise UserError(
                f"{name} is a {first}, which does not generate text (an embedding or classification model); choose a causal "
                "chat model."
            )
        raise UserError(
            f"{name} is a {first} according to config.json, which is not a causal language model of transformers; choose a "
            "causal chat model."
        )
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    if length is not None and (not isinstance(length, int) or length < 1):
        raise UserError(
            f"The max_position_embeddings of {name} in config.json is {length!r}; write the maximum length of a chat in tokens."
        )


def check_cacheable(model: Any) -> None:
    """Reject recurrent and hybrid models, whose state is not a key-value cache of attention layers.

    Raises:
        UserError: Naming the model type.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    foreign = sorted(kinds - {"full_attention", "sliding_attention"})
    stateful = bool(getattr(model, "_is_stateful", False))
    if foreign or stateful:
        what = ", ".join(foreign) if foreign else "a recurrent state"
        raise UserError(
            f"Models of type '{config.model_type}' keep {what}, which cannot be shared between the rows of a batch; "
            "choose a model with full or sliding-window attention, such as Llama, Qwen, Mistral or Gemma."
        )


def check_weights(model: Any, info: Mapping[str, Any], name: str) -> None:
    """Reject a model whose weights are incomplete or not finite. transformers fills missing weights with random numbers.

    Args:
        model: The loaded model.
        info: The loading info of `from_pretrained(..., output_loading_info=True)`.
        name: The name of the model in messages.

    Raises:
        UserError: Naming the first weight that is missing, has another shape, is unknown, or is not finite.
    """
    advice = "download or convert the model again."
    for kind, what in (
        ("missing_keys", "is missing"),
        ("mismatched_keys", "has another shape than the configuration says"),
        ("unexpected_keys", "does not belong to this kind of model"),
    ):
        keys = sorted(str(key[0] if isinstance(key, tuple) else key) for key in info.get(kind) or ())
        if found := [key for key in keys if not key.endswith(OLD_BUFFERS)]:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise UserError(f"The weights of {name} are not complete: {found[0]}{more} {what}; {advice}")
    for weight, values in model.named_parameters():
        # Eight-bit numbers have no isfinite.
        wide = values.float() if values.is_floating_point() and values.element_size() == 1 else values
        if not bool(torch.isfinite(wide).all()):
            raise UserError(
                f"The weights of {name} are damaged: {weight} contains numbers that are not finite; {advice}"
            )
