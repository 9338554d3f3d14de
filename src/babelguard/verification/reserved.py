"""The probability that the output rows of an export give to tokens that must never be generated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from babelguard.errors import UserError
from babelguard.files import FileFault, read_json_file
from babelguard.models.probes import logit_scale

ADAPTER = "adapter_config.json"
HEAD = "lm_head.weight"
TABLES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "tok_embeddings.weight")
GGUF_HEAD, GGUF_TABLE = "output.weight", "token_embd.weight"


class Head(NamedTuple):
    """Output rows of an export, and how the model turns their products with its states into logits.

    Attributes:
        rows: [tokens, d], float32.
        scale: Factor of the logits.
        cap: The limit of the logits, if they are capped by a hyperbolic tangent.
    """

    rows: Tensor
    scale: float = 1.0
    cap: float | None = None

    def probability(self, states: Tensor, logits: Tensor, ids: Sequence[int]) -> Tensor:
        """Return the probability of every token of the head, [positions, tokens].

        Args:
            states: What the output embeddings receive, [positions, d].
            logits: Logits of the base model, [positions, vocabulary].
            ids: Ids of the tokens of the head. The logits of the base model for them are not used.
        """
        own = states @ self.rows.T * self.scale
        if self.cap is not None:
            own = self.cap * torch.tanh(own / self.cap)
        others = torch.ones(logits.shape[-1], dtype=torch.bool)
        others[[k for k in ids if k < len(others)]] = False
        return torch.cat([own, logits[:, others]], -1).softmax(-1)[:, : own.shape[-1]]


def read_head(folder: Path, model: Any, placeholders: Sequence[int]) -> tuple[Head | None, list[int]]:
    """Read the output rows of the placeholder tokens, and those of tokens that the base model does not have.

    Args:
        folder: The export. If it has no weights of its own output embeddings, the rows are those of the base model.
        model: The base model.
        placeholders: Ids of the placeholder tokens.

    Returns:
        The head and the ids of its rows. None if the model has no such rows, so that the tokens cannot be generated.

    Raises:
        UserError: If the files cannot be read.
    """
    own = model.get_output_embeddings().weight
    try:
        if (folder / "config.json").is_file() and not (folder / ADAPTER).is_file():
            count, rows = _from_safetensors(folder)
        elif ggufs := sorted(folder.glob("*.gguf")):
            count, rows = _from_gguf(ggufs[0])
        else:  # an adapter or prompt embeddings, which leave the head alone
            count, rows = int(own.shape[0]), lambda ids: own[ids].float().cpu()
        ids = sorted({k for k in placeholders if k < count} | set(range(int(own.shape[0]), count)))
        if not ids:
            return None, []
        cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        return Head(rows(ids).detach(), 1.0 if cap else logit_scale(model), cap), ids
    except (OSError, SafetensorError, FileFault, KeyError, ValueError, TypeError, AttributeError) as error:
        what = " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(f"The output rows of the export in {folder} cannot be read ({what}); export again.") from error


def _from_safetensors(folder: Path) -> tuple[int, Any]:
    """Return the number of output rows of a model folder, and a function that reads some of them."""
    index = folder / "model.safetensors.index.json"
    files = sorted(set(read_json_file(index)["weight_map"].values())) if index.is_file() else ["model.safetensors"]
    names: dict[str, Path] = {}
    for file in files:
        with safe_open(folder / file, "pt") as weights:
            names |= {name: folder / file for name in weights.keys()}  # noqa: SIM118 (it is not a mapping)
    # A tied model has no output rows of its own.
    name = next((one for one in names if one.endswith(HEAD)), None)
    name = name or next(one for end in TABLES for one in names if one.endswith(end))
    with safe_open(names[name], "pt") as weights:
        count = int(weights.get_slice(name).get_shape()[0])

    def rows(ids: Sequence[int]) -> Tensor:
        with safe_open(names[name], "pt") as weights:
            part = weights.get_slice(name)
            return torch.cat([part[k : k + 1] for k in ids]).float()

    return count, rows


def _from_gguf(file: Path) -> tuple[int, Any]:
    """Return the number of output rows of a GGUF file, and a function that reads some of them."""
    try:
        from gguf import GGUFReader
        from gguf.quants import dequantize
    except ImportError:
        raise UserError(
            "Reading a GGUF file needs the library gguf, which is not installed; run pip install gguf."
        ) from None
    tensors = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    tensor = tensors.get(GGUF_HEAD) or tensors[GGUF_TABLE]

    def rows(ids: Sequence[int]) -> Tensor:
        return torch.from_numpy(dequantize(tensor.data[list(ids)], tensor.tensor_type).copy()).float()

    return int(tensor.data.shape[0]), rows
