"""The demo model: Gemma 3 270M, turned into a chat model by an adapter that we trained; see `PACKAGED` for its packages."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
ADAPTER = Path(__file__).parent / "demo_adapter"
BASE_ID = "google/gemma-3-270m"


def adapter_fingerprint() -> str:
    """Hash the adapter and its template, so that each adapter has its own folder in the cache."""
    digest = hashlib.sha256(SHA256.encode())
    for name in ("adapter_model.safetensors", "adapter_config.json", "chat_template.jinja"):
        digest.update((ADAPTER / name).read_bytes())
    return digest.hexdigest()[:12]


def merge_adapter(model: Any, adapter: Path) -> None:
    """Add the low-rank update to the weights, W + (alpha / r) B A, without depending on peft."""
    from safetensors.torch import load_file

    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    scale = config["lora_alpha"] / config["r"]
    tensors = load_file(adapter / "adapter_model.safetensors")
    modules = dict(model.named_modules())
    for name, down in tensors.items():
        if name.endswith(".lora_A.weight"):
            up = tensors[name.replace(".lora_A.", ".lora_B.")]
            target = modules[name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")]
            target.weight.data += scale * (up.float() @ down.float())


def merge_demo(model: Any, tokenizer: Any, folder: Path) -> None:
    """Merge the adapter into the base model, and add the notices that Gemma's terms require."""
    import torch

    # The adapter was trained on bfloat16 weights, so it is merged into weights with the same rounding.
    model.to(torch.bfloat16).to(torch.float32)
    merge_adapter(model, ADAPTER)
    tokenizer.chat_template = (ADAPTER / "chat_template.jinja").read_text(encoding="utf-8")
    for notice in ("NOTICE", "GEMMA_TERMS.md", "README.md"):
        shutil.copy(ADAPTER / notice, folder / notice)
