"""Export a complete model with the soft prompt in its embedding table, for plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from babelguard.errors import UserError
from babelguard.models.load import ChatModel
from babelguard.models.probes import embed
from babelguard.prompt import SafetyPrompt
from babelguard.screen import Screen


class Checkpoint:
    """Writes the model with theta in the rows of the placeholder tokens, and a tokenizer whose template inserts them.

    The result needs neither babelguard nor hooks. Tied output embeddings are untied, so that the rows of theta do not
    become output rows. The placeholders are never generated: they are in `suppress_tokens` of the generation
    configuration.
    """

    name = "checkpoint"
    description = "model folder for transformers, without hooks"

    def write(self, chat: ChatModel, prompt: SafetyPrompt, folder: Path, screen: Screen) -> None:
        """Write the model folder; see `Exporter.write`."""
        model, ids = chat.model, list(prompt.slot.token_ids)
        carrier = prompt.carrier(chat.tokenizer)
        screen.say("  writing the soft prompt into the embedding table")
        untie(model)
        rows = int(model.get_input_embeddings().weight.shape[0])
        if max(ids) >= rows:
            model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
        write_rows(model, prompt)
        suppressed = [*(model.generation_config.suppress_tokens or []), *ids]
        model.generation_config.suppress_tokens = sorted(set(suppressed))
        model.config._name_or_path = ""
        screen.say("  writing safetensors")
        try:
            model.save_pretrained(folder)
            carrier.save_pretrained(folder)
        except OSError as error:
            raise UserError(
                f"The model could not be written to {folder} ({error.strerror or error}); free some space or choose another "
                "`output`."
            ) from error


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
def write_rows(model: Any, prompt: SafetyPrompt) -> None:
    """Write theta into the embedding table, divided by the embedding scale, which is measured on one row."""
    table = model.get_input_embeddings()
    ids = list(prompt.slot.token_ids)
    reference = ids[0]
    table.weight[reference] = 1.0
    scale = float(embed(model, [reference]).mean())
    table.weight[ids] = (prompt.theta / scale).to(device=table.weight.device, dtype=table.weight.dtype)
