"""Export a complete model with the soft prompt in its embedding table, for plain transformers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from babelguard.errors import UserError
from babelguard.models.load import ChatModel
from babelguard.models.probes import embed
from babelguard.prompt import SafetyPrompt
from babelguard.screen import Screen

# Parameters of a generation configuration that only have an effect with `do_sample`.
SAMPLING = ("temperature", "top_p", "top_k", "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
# Parts of the names of files with licences and notices.
NOTICES = ("LICENSE", "LICENCE", "NOTICE", "TERMS", "USE_POLICY")


class Checkpoint:
    """Writes the model with theta in the rows of the placeholder tokens, and a tokenizer whose template inserts them.

    The result needs neither babelguard nor hooks. Tied output embeddings are untied, so that the rows of theta do not
    become output rows. The placeholders are never generated: they are in `suppress_tokens` of the generation
    configuration.
    """

    name = "checkpoint"

    def write(self, chat: ChatModel, prompt: SafetyPrompt, folder: Path, screen: Screen) -> None:
        """Write the model folder; see `Exporter.write`."""
        model, ids = chat.model, list(prompt.slot.token_ids)
        carrier = prompt.carrier(chat.tokenizer)
        screen.say("  writing the soft prompt into the embedding table")
        untie(model)
        add_rows(model, max(ids) + 1)
        write_rows(model, prompt)
        suppressed = [*(model.generation_config.suppress_tokens or []), *ids]
        model.generation_config.suppress_tokens = sorted(set(suppressed))
        drop_unused_sampling(model.generation_config)
        source, model.config._name_or_path = model.config._name_or_path, ""
        screen.say("  writing safetensors")
        try:
            copy_notices(source, folder)
            model.save_pretrained(folder)
            carrier.save_pretrained(folder)
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"The model could not be written to {folder.parent} ({getattr(error, 'strerror', None) or error}); free some "
                "space or choose another `output`."
            ) from error


def copy_notices(source: str, folder: Path) -> None:
    """Copy licences and notices of a local base model, which must accompany every copy of its weights."""
    if not source or not Path(source).is_dir():
        return
    for file in Path(source).iterdir():
        if file.is_file() and any(mark in file.name.upper() for mark in NOTICES):
            shutil.copyfile(file, folder / file.name)


@torch.no_grad()
def untie(model: Any) -> None:
    """Give the output embeddings their own weights if they share those of the input embeddings."""
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    if head.weight is not table.weight:
        return
    head.weight = torch.nn.Parameter(table.weight.detach().clone(), requires_grad=False)
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False


@torch.no_grad()
def add_rows(model: Any, rows: int) -> None:
    """Enlarge both embedding tables to at least `rows` rows.

    New output rows are zero, because the base model has no tokens with these ids.
    """
    before = int(model.get_input_embeddings().weight.shape[0])
    if rows <= before:
        return
    model.resize_token_embeddings(rows, mean_resizing=False)
    head = model.get_output_embeddings()
    head.weight[before:] = 0.0
    if getattr(head, "bias", None) is not None:
        head.bias[before:] = 0.0


@torch.no_grad()
def write_rows(model: Any, prompt: SafetyPrompt) -> None:
    """Write theta into the embedding table, divided by the embedding scale, which is measured on one row."""
    table = model.get_input_embeddings()
    ids = list(prompt.slot.token_ids)
    reference = ids[0]
    table.weight[reference] = 1.0
    scale = float(embed(model, [reference]).mean())
    table.weight[ids] = (prompt.theta / scale).to(device=table.weight.device, dtype=table.weight.dtype)


def drop_unused_sampling(config: Any) -> None:
    """Remove sampling parameters from a generation configuration without sampling, which transformers refuses to save."""
    if config.do_sample:
        return
    for name in SAMPLING:
        if getattr(config, name, None) is not None:
            setattr(config, name, None)
