"""Tiny models whose greedy replies hold many different tokens, and which never generate tokens without a use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny

# Family -> changes of the configuration: an untied head, a tied one, and scaled embeddings with a tied head.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"initializer_range": 0.3},
    "qwen3": {"initializer_range": 0.3, "vocab_size": 560},
    "gemma3": {"tie_word_embeddings": True},
}
# An element of the hidden states that is the same in all of them, as in trained models.
CONSTANT = 0
SOFT_TOKENS = 5


def make_model(name: str) -> Any:
    """Return a model of a family, see the module."""
    model = tiny.make_model(name, **FAMILIES[name])
    for part, weight in model.named_parameters():
        if name == "gemma3" and "layernorm" in part and "post_" in part:
            weight.data += 2.0  # so that replies depend on more than their last token
        if part.endswith(("o_proj.weight", "down_proj.weight")):
            weight.data[CONSTANT] = 0.0
    table, head = model.get_input_embeddings().weight.data, model.get_output_embeddings().weight.data
    scale = 8.0 if name == "gemma3" else 1.0
    table[:, CONSTANT] = 5.0 / scale
    if head.data_ptr() != table.data_ptr():
        head[:, CONSTANT] = 0.0
    head[unused(name, len(head)), CONSTANT] = -200.0
    return model


def unused(name: str, rows: int) -> list[int]:
    """Return the ids that no text has: reserved tokens, and rows without a token."""
    tokenizer = tiny.make_tokenizer(tiny.FAMILIES[name])
    reserved = tiny.FAMILIES[name].reserved
    listed = [reserved.format(k) for k in range(tiny.RESERVED_TOKENS)] if reserved else []
    return [*tokenizer.convert_tokens_to_ids(listed), *range(len(tokenizer), rows)]


def save(name: str, folder: Path) -> tuple[Path, Path]:
    """Save a model of a family and a random safety prompt for it. Returns both folders."""
    model = make_model(name)
    tokenizer = tiny.make_tokenizer(tiny.FAMILIES[name])
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    loaded = tiny.load_family(folder / "base")
    tiny.make_prompt(*loaded, SOFT_TOKENS).save_pretrained(folder / "prompt")
    return folder / "base", folder / "prompt"
