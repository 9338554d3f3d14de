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


@torch.no_grad()
def save(name: str, folder: Path) -> tuple[Path, Path]:
    """Save a model of `varied` and a random safety prompt for it. Returns both folders."""
    base = varied.save(name, folder / "base")
    model, tokenizer = tiny.load_family(base)
    for part, weight in model.named_parameters():
        if part.endswith(("o_proj.weight", "down_proj.weight")):
            weight[CONSTANT] = 0.0
    table, head = model.get_input_embeddings(), model.get_output_embeddings().weight
    table.weight[:, CONSTANT] = VALUE / float(getattr(table, "embed_scale", 1.0))
    if head is not table.weight:
        head[:, CONSTANT] = 0.0
    head[unused(tokenizer, len(head)), CONSTANT] = -100.0 / VALUE
    model.save_pretrained(base)
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
