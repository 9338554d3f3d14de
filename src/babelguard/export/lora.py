"""Export the soft prompt as a LoRA adapter of the embedding table. The weights of the base model are not copied."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from babelguard.errors import UserError
from babelguard.export.base import Base, Exported, Options, ServeCommand
from babelguard.export.settings_files import copy_notices, write_generation_config
from babelguard.files import write_json
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.rows import table_rows
from babelguard.screen import Screen

# The ranks that vLLM reserves memory for.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# The name of the defended model on a server that also offers the base model.
SERVED = "defended"
# Models for which vLLM (0.32) applies LoRA to the embedding table.
VLLM = {
    "ApertusForCausalLM",
    "CohereForCausalLM",
    "Cohere2ForCausalLM",
    "ExaoneForCausalLM",
    "Exaone4ForCausalLM",
    "GraniteForCausalLM",
    "GraniteMoeForCausalLM",
    "LlamaForCausalLM",
    "MixtralForCausalLM",
    "NemotronForCausalLM",
    "Phi3ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "SolarForCausalLM",
}
UNSUPPORTED = (
    "vLLM does not apply adapters to the embeddings of this kind of model; use an export as checkpoint or prompt-embeds with "
    "vLLM, and this one with PEFT."
)
NOTES = (
    "The adapter only fits the base model above: `base_rows_sha256` in `babelguard.json` is the digest of the rows that it is "
    "added to.",
    f"A server offers the base model beside `{SERVED}`. Under the name of the base model, the placeholders have no meaning and "
    "the replies are undefended, so let users reach only the defended name.",
    "In PEFT, pass `GenerationConfig.from_pretrained` of this folder to `generate`, so that the placeholders are not generated. "
    "Do not merge the adapter if the model shares its output head with the embedding table: the placeholders would be generated.",
)


class Lora:
    """Writes an adapter in the format of PEFT, and the tokenizer whose template inserts the placeholders.

    The adapter adds to the embedding of placeholder k the difference between theta k and its row in the table. Each
    placeholder has a rank of its own, so nothing else changes, not even a head that shares the table.
    """

    name = "lora"

    def write(self, base: Base, prompt: SafetyPrompt, folder: Path, screen: Screen, options: Options) -> Exported:
        """Write the adapter; see `Exporter.write`."""
        options.check(self.name)
        table, ids = base.table, list(prompt.slot.token_ids)
        if max(ids) >= table.count:
            raise UserError(
                f"The placeholders of this safety prompt are not in the embedding table of {base.name}, which has {table.count} "
                "rows, and an adapter cannot add rows; use the exporter `checkpoint`."
            )
        if len(ids) > RANKS[-1]:
            raise UserError(
                f"The safety prompt has {len(ids)} vectors, and an adapter has a rank of at most {RANKS[-1]}; use the exporter "
                "`checkpoint`."
            )
        dtype, rank = base.dtype(options.dtype), next(rank for rank in RANKS if rank >= len(ids))
        rows = table.weights.rows(table.name, ids)
        # The adapter is added to the rows of the base model as they are served, which may be rounded to another dtype.
        delta = table_rows(prompt.theta, base.scales(dtype).whole, torch.float32) - rows.to(dtype).float()
        stem = f"base_model.model.{table.module}.lora_embedding_"
        tensors = dict(zip((f"{stem}A", f"{stem}B"), factors(delta, ids, table.count, rank), strict=True))
        save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
        write_json(folder / "adapter_config.json", adapter_config(base, table.module.rpartition(".")[2], rank))
        write_generation_config(base.folder, folder, base.config, ids)
        prompt.carrier(base.tokenizer).save_pretrained(folder)
        copy_notices(base.folder, folder)
        supported = bool(VLLM & set(base.config.architectures or ()))
        if not supported:
            screen.say(f"  {UNSUPPORTED}")
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        facts = {
            "rank": rank,
            "vllm": supported,
            "bytes": size,
            "base_rows_sha256": rows_digest(rows),
            "base_rows": table.count,
        }
        name = str(dtype).removeprefix("torch.")
        notes = NOTES if supported else (*NOTES, UNSUPPORTED)
        return Exported(_serve(rank, supported), facts, name, SERVED, notes, library="peft", relation="adapter")


def factors(delta: Tensor, ids: list[int], count: int, rank: int) -> tuple[Tensor, Tensor]:
    """Return the two factors of the adapter: A [rank, V] selects a placeholder, and B [d, rank] has its vector.

    Args:
        delta: What is added to each row, [n, d].
        ids: The ids of the placeholders.
        count: Number of rows of the embedding table.
        rank: The rank. Ranks that no placeholder uses are zero.
    """
    selects = torch.zeros(rank, count, dtype=torch.bfloat16)  # 0 and 1 are exact in any dtype
    selects[torch.arange(len(ids)), torch.tensor(ids)] = 1.0
    vectors = torch.zeros(delta.shape[1], rank)
    vectors[:, : len(ids)] = delta.T
    return selects, vectors


def adapter_config(base: Base, module: str, rank: int) -> dict[str, Any]:
    """Return the content of adapter_config.json. With alpha equal to the rank, PEFT multiplies the adapter by 1."""
    return {
        "base_model_name_or_path": base.base_id,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "revision": base.revision,
        "target_modules": [module],
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }


def rows_digest(rows: Tensor) -> str:
    """Return the SHA-256 of the base model's rows that the adapter is added to, rounded to bfloat16."""
    return hashlib.sha256(rows.to(torch.bfloat16).contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def _serve(rank: int, vllm: bool) -> tuple[ServeCommand, ...]:
    listed = ServeCommand(
        "vLLM",
        "0.32",
        "vllm serve BASE --tokenizer EXPORT --enable-lora --lora-target-modules embed_tokens "
        f"--lora-modules {SERVED}=EXPORT --max-lora-rank {rank}",
        False,
    )
    sglang = ServeCommand(
        "SGLang",
        "0.5.23",
        "python -m sglang.launch_server --model-path BASE --tokenizer-path EXPORT --enable-lora "
        f"--lora-target-modules embed_tokens --lora-paths {SERVED}=EXPORT --max-lora-rank {rank}",
        False,
    )
    return (listed, sglang) if vllm else (sglang,)
