"""Tiny random chat models whose most likely replies have many different tokens.

A reply that repeats one token says little about an engine, and one whose tokens are almost equally likely depends on rounding.
The seeds were searched for replies of many tokens that lead by far, and the last norm makes the probabilities less equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import tiny
import torch

from babelguard.prompt import SafetyPrompt

QUESTION = "How do I bake bread?"
DISTINCT = 8


class Varied(NamedTuple):
    """A model of `tiny`: its family, seed, the factor of its logits, and changes of the configuration."""

    family: str
    seed: int
    sharp: float
    changes: dict[str, Any]


VARIED = {
    "llama": Varied("llama", 37, 2.0, {}),
    "qwen3, tied": Varied("qwen3", 0, 2.0, {}),
    # llama.cpp has five layers with a sliding window for each layer without one.
    "gemma3, scaled": Varied(
        "gemma3",
        57,
        16.0,
        {
            "tie_word_embeddings": True,
            "num_hidden_layers": 6,
            "sliding_window": 512,
            "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
        },
    ),
}


@torch.no_grad()
def save(name: str, folder: Path) -> Path:
    """Save a model and its tokenizer as a local model folder."""
    family, seed, sharp, changes = VARIED[name]
    model = tiny.make_model(family, seed, **changes)
    shift = float(family == "gemma3")  # its norms have the weight 1 + w
    model.model.norm.weight[:] = sharp * (model.model.norm.weight + shift) - shift
    model.save_pretrained(folder)
    tiny.make_tokenizer(tiny.FAMILIES[family]).save_pretrained(folder)
    return folder


@torch.no_grad()
def reference(
    base: Path, prompt: SafetyPrompt, messages: list[dict[str, Any]], tokens: int = 16
) -> tuple[list[int], torch.Tensor]:
    """Reply as the protected model does.

    Returns:
        The token ids of the reply, and the log-probabilities of every step, [tokens, v], in which the placeholders are
        suppressed.
    """
    model, carrier = prompt.protect(*tiny.load_family(base))
    given = carrier.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    made = model.generate(
        **given, max_new_tokens=tokens, do_sample=False, output_scores=True, return_dict_in_generate=True
    )
    return made.sequences[0, given["input_ids"].shape[1] :].tolist(), torch.cat(made.scores).log_softmax(-1)
