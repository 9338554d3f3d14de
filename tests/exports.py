"""Exports of tiny models, which never generate the tokens that no text has, as trained models never do."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import tiny
import torch
import varied
from calls import succeed
from safetensors.torch import load_file, save_file

from babelguard.prompt.rows import IMPOSSIBLE_BYTES

# An element of the hidden states that is the same for all tokens.
CONSTANT, VALUE = 0, 0.3
SOFT_TOKENS = 5
# Makes replies depend on more than their last token.
GAIN = 3.0
# Seed, and the factor of the last norm. They were searched for replies of many different tokens.
MODELS = {"llama": (10, 3.0), "qwen3, tied": (37, 3.0), "gemma3, scaled": (42, 60.0)}


@torch.no_grad()
def make(name: str) -> Any:
    """Return a model like that of `varied`, which never generates unused tokens."""
    family, _, _, changes = varied.VARIED[name]
    seed, sharp = MODELS[name]
    if family == "qwen3":
        changes = changes | {"vocab_size": 560}  # rows that an adapter can change
    model, tokenizer = tiny.make_model(family, seed, **changes), tiny.make_tokenizer(tiny.FAMILIES[family])
    shift = float(family == "gemma3")  # its norms have the weight 1 + w
    model.model.norm.weight[:] = sharp * (model.model.norm.weight + shift) - shift
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    if family == "gemma3":
        head[unused(tokenizer, len(head))] = 0.0  # other logits are far higher
        return model
    for part, weight in model.named_parameters():
        if part.endswith(("o_proj.weight", "down_proj.weight")):
            weight[CONSTANT] = 0.0
            weight *= GAIN
    table[:, CONSTANT] = VALUE
    if head is not table:
        head[:, CONSTANT] = 0.0
    head[unused(tokenizer, len(head)), CONSTANT] = -100.0 / VALUE
    return model


def save(name: str, folder: Path) -> tuple[Path, Path]:
    """Save a model and a random safety prompt for it. Returns both folders."""
    base = folder / "base"
    make(name).save_pretrained(base)
    tiny.make_tokenizer(tiny.FAMILIES[varied.VARIED[name].family]).save_pretrained(base)
    tiny.make_prompt(*tiny.load_family(base), SOFT_TOKENS).save_pretrained(folder / "prompt")
    return base, folder / "prompt"


def unused(tokenizer: Any, rows: int) -> list[int]:
    """Return the ids that no text has: reserved tokens, bytes that do not occur, and rows without a token."""
    known = tokenizer.get_vocab()
    names = [name for name in known if name in IMPOSSIBLE_BYTES or "reserved" in name or name.startswith("<unused")]
    return [*(known[name] for name in names), *(k for k in range(rows) if k not in known.values())]


def export(name: str, folder: Path, to: str = "checkpoint", *more: Any) -> tuple[Path, Path]:
    """Export a model of `varied`. Returns the folders of the base model and of the export."""
    base, prompt = save(name, folder)
    succeed("export", prompt, "--to", to, "--output", folder / to, "--model", base, *more)
    return base, folder / to


def change_tensors(folder: Path, change: Any, file: str = "model.safetensors") -> None:
    """Change the tensors of an export, and its manifest, so that only the effect of the change can be noticed.

    Args:
        folder: The export.
        change: Called with the tensors by name.
        file: The file.
    """
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file, {"format": "pt"})
    sign(folder)


def sign(folder: Path) -> None:
    """Write the digests of the files of an export into its manifest."""
    path = folder / "babelguard.json"
    content = json.loads(path.read_text())
    content["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in content["files"]}
    path.write_text(json.dumps(content))
