"""Refuse models that cannot be defended, each with one sentence."""

from __future__ import annotations

from typing import Any

from babelguard.errors import UserError


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


def check_kind(config: Any, name: str) -> None:
    """Refuse encoder-decoder and embedding models.

    Raises:
        UserError: Naming the kind of model.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"{name} is an encoder-decoder model (type '{config.model_type}'); choose a causal chat model.")
    architectures = list(getattr(config, "architectures", None) or [])
    if architectures and not any(
        "CausalLM" in a or "LMHead" in a or "ConditionalGeneration" in a for a in architectures
    ):
        raise UserError(
            f"{name} is a {architectures[0]}, which does not generate text (an embedding or classification model); choose a "
            "causal chat model."
        )


def check_cacheable(model: Any) -> None:
    """Refuse recurrent and hybrid models, whose state is not a key-value cache of attention layers.

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
            "choose a model with plain or sliding-window attention (Llama, Qwen, Mistral, Gemma and the like)."
        )
