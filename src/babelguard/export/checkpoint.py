"""Export a complete model with the soft prompt in its embedding table, for any engine. It is copied tensor by tensor."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import Tensor

from babelguard.errors import UserError
from babelguard.export.base import Base, Exported, Options, ServeCommand
from babelguard.export.copying import Change, Plan
from babelguard.export.settings_files import copy_beside, copy_notices, write_config, write_generation_config
from babelguard.models.stored import FORMATS
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.rows import extended, table_rows, unused_id, written
from babelguard.screen import Screen

# Free space that must remain, in bytes.
RESERVE = 50_000_000
SERVE = (
    ServeCommand("transformers", "5.0", "transformers serve EXPORT", True),
    ServeCommand("vLLM", "0.32", "vllm serve EXPORT", True),
    ServeCommand("SGLang", "0.5", "python -m sglang.launch_server --model-path EXPORT", False),
)
# Models whose head vLLM (0.32) takes from the embedding table even if they have one of their own.
HEADLESS = {"gemma2", "cohere", "cohere2"}
NOTES = (
    "Use the chat template of this folder, and do not replace it in the server or in a request.",
    "transformers does not generate the placeholders (`suppress_tokens`). vLLM and SGLang do not read this setting; there, the "
    "output rows of the placeholders are those of tokens that the base model never generates. To exclude them as well, send "
    "`logit_bias` with -100 for each of `token_ids` in `babelguard.json`.",
)


class Checkpoint:
    """Writes the model with theta in the rows of the placeholder tokens, and a tokenizer whose template inserts them.

    The result needs neither babelguard nor hooks. A tied head is untied: it becomes a copy of the original embedding table, so
    that the rows of theta do not become output rows. The placeholders are not generated: they are in `suppress_tokens` of the
    generation configuration, and, for engines that do not read it, their output rows are those of tokens that the base model
    never generates.
    """

    name = "checkpoint"

    def write(self, base: Base, prompt: SafetyPrompt, folder: Path, screen: Screen, options: Options) -> Exported:
        """Write the model folder; see `Exporter.write`."""
        options.check(self.name)
        check_quantised(base, options)
        table, ids, dtype = base.table, prompt.slot.token_ids, base.dtype(options.dtype)
        converted = dtype if options.dtype != "checkpoint" else None
        rows, count = table_rows(prompt.theta, base.scales(dtype).whole, dtype), max(table.count, max(ids) + 1)
        unused = unused_id(base.tokenizer, table.count, {*ids, *base.roles})

        def new_table() -> Tensor:
            return written(table.weights.read(table.name).to(dtype), ids, rows, unused)

        changes = {table.name: Change((count, table.width), dtype, new_table), **heads(base, count, unused, converted)}
        plan = Plan(table.weights, changes, table.name, converted)
        screen.say(f"  base model {_gb(base.weights.size)}, export {_gb(plan.size)}")
        if table.tied:
            cost = _gb(count * table.width * dtype.itemsize)
            screen.say(f"  the output head shares the embedding table in the base model; its own copy takes {cost}")
        check_space(folder, plan.size)
        plan.write(folder, screen)
        name = str(dtype).removeprefix("torch.")
        write_config(base.folder, folder, rows=count, dtype=name if converted else None)
        write_generation_config(base.folder, folder, base.config, ids)
        prompt.carrier(base.tokenizer).save_pretrained(folder)
        copy_notices(base.folder, folder)
        copy_beside(base.folder, folder)
        facts = {
            "bytes": plan.size,
            "base_bytes": base.weights.size,
            "head_untied": table.tied,
            "rows": count,
            "unused_token": base.tokenizer.convert_ids_to_tokens(unused),
        }
        serve = [one for one in SERVE if one.engine != "vLLM" or base.config.model_type not in HEADLESS]
        return Exported(tuple(serve), facts, name, notes=NOTES, library="transformers", relation="finetune")


def heads(base: Base, count: int, unused: int, dtype: torch.dtype | None) -> dict[str, Change]:
    """Return what changes in the output head: it is untied, and gets rows for ids beyond the table.

    Args:
        base: The base model.
        count: Number of rows of the new table.
        unused: Id of a token that is never generated; see `unused_id`.
        dtype: Dtype of the export, if it is not that of the base model.

    Raises:
        UserError: If the head is quantised and needs more rows.
    """
    table = base.table
    source = table.name if table.tied else table.head
    bias = table.head.removesuffix("weight") + "bias"
    changes = {}
    for name, stored in ((table.head, source), (bias, bias)):
        entry = table.weights.entries.get(stored)
        if name == table.head and (entry is None or entry.form not in FORMATS) and count > table.count:
            raise UserError(
                f"The output head of {base.name} is quantised, so it cannot get rows for the placeholders of this safety prompt; "
                "export from the model without quantisation, and quantise the result."
            )
        if entry is None or entry.form not in FORMATS or (stored == name and entry.shape[0] >= count):
            continue
        form = dtype or FORMATS[entry.form]

        def make(stored: str = stored, form: torch.dtype = form) -> Tensor:
            return extended(table.weights.read(stored).to(form), count, unused)

        changes[name] = Change((max(count, entry.shape[0]), *entry.shape[1:]), form, make)
    return changes


def check_quantised(base: Base, options: Options) -> None:
    """Check that a quantised base model can be copied. Its embedding table is not quantised, which `find_table` has checked.

    Raises:
        UserError: If its dtype is to change, or its head would have to be quantised.
    """
    if getattr(base.config, "quantization_config", None) is None:
        return
    if options.dtype != "checkpoint":
        raise UserError(f"{base.name} is quantised, so its `dtype` cannot be changed; leave out `dtype`.")
    if base.table.tied:
        raise UserError(
            f"{base.name} is quantised and its output head shares the embedding table, so the head cannot be untied; export from "
            "the model without quantisation, and quantise the result."
        )


def check_space(folder: Path, size: int) -> None:
    """Check that the disk has room for an export.

    Raises:
        UserError: Saying how much is needed and how much is free.
    """
    free = shutil.disk_usage(folder).free
    if free < size + RESERVE:
        raise UserError(
            f"The export takes {_gb(size)}, but only {_gb(free)} are free on the disk; free some space or choose another "
            "`output`."
        )


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
