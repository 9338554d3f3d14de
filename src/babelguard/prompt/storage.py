"""The files of a safety prompt: a validated config.json, the vectors as safetensors, and a model card."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from babelguard.errors import UserError
from babelguard.files import sync, write_json, write_text
from babelguard.prompt.placement import Placement
from babelguard.prompt.shapes import State
from babelguard.prompt.slot import Slot

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
TYPE: Final = "babelguard-safety-prompt"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class SlotConfig(_Strict):
    """The slot in config.json; see `babelguard.prompt.slot.Slot`."""

    tokens: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    token_ids: list[Annotated[int, Field(ge=0)]]
    placement: Placement
    default_system: str
    source: Literal["reserved", "spare", "appended"]
    shapes: dict[str, State] = {}

    @model_validator(mode="after")
    def _one_id_per_token(self) -> SlotConfig:
        if len(self.tokens) != len(self.token_ids):
            raise ValueError("the number of tokens and ids differ")
        if len(set(self.token_ids)) != len(self.token_ids):
            raise ValueError("a token id occurs twice")
        return self


class PromptConfig(_Strict):
    """The content of config.json."""

    format: int = Field(ge=1)
    type: Literal["babelguard-safety-prompt"]
    name: str
    seed: int
    base_model: str
    base_revision: str | None
    base_fingerprint: str
    base_licence: str | None
    length: int = Field(ge=1)
    width: int = Field(ge=1)
    scale: Literal["after the embedding scale"]
    template_sha256: str
    slot: SlotConfig
    training: dict[str, Any]

    @model_validator(mode="after")
    def _languages_are_codes(self) -> PromptConfig:
        codes = self.training.get("languages", [])
        if not (isinstance(codes, list) and all(isinstance(code, str) for code in codes)):
            raise ValueError("training.languages is not a list of language codes")
        return self


def write(folder: Path, config: PromptConfig, theta: Tensor, card: str) -> None:
    """Write the files of a safety prompt. config.json is written last, so a folder with a config.json is complete.

    Raises:
        UserError: If the folder cannot be written.
    """
    draft = folder / f"{WEIGHTS}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"theta": theta.detach().cpu().float().contiguous()}, draft)
        sync(draft)
        os.replace(draft, folder / WEIGHTS)
        write_text(folder / CARD, card)
        write_json(folder / CONFIG, config.model_dump(mode="json"))
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"The safety prompt could not be written to {folder} ({error}); free some space, then try again."
        ) from error


def read(folder: Path, name: str) -> tuple[PromptConfig, Tensor, str]:
    """Read and validate the files of a safety prompt.

    Args:
        folder: The folder.
        name: The name of the prompt in messages.

    Returns:
        The configuration, theta [n, d], and the text of the model card ('' if there is none).

    Raises:
        UserError: If the folder is not a safety prompt, or a file is damaged.
    """
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        newer = content["format"] if isinstance(content, dict) and type(content.get("format")) is int else 0
        if newer > FORMAT:
            raise UserError(
                f"The safety prompt in {name} was written by a newer version of babelguard (format {newer}); update "
                "babelguard."
            )
        config = PromptConfig.model_validate(content)
        theta = load_file(folder / WEIGHTS)["theta"]
        card = folder / CARD
        text = card.read_text(encoding="utf-8") if card.exists() else ""
    except FileNotFoundError as error:
        missing = Path(error.filename).name if error.filename else WEIGHTS
        raise UserError(f"{name} is not a safety prompt: {missing} is missing.") from error
    except (OSError, ValueError, KeyError, RecursionError, SafetensorError) as error:
        raise UserError(
            f"The safety prompt in {name} is damaged or of an unknown kind ({_reason(error)}); train or download it again."
        ) from error
    wanted = (config.length, config.width)
    if theta.ndim != 2 or tuple(theta.shape) != wanted or theta.shape[0] != len(config.slot.tokens):
        raise UserError(
            f"The safety prompt in {name} is damaged: its vectors have the shape {tuple(theta.shape)}, but config.json says "
            f"{wanted[0]} x {wanted[1]}; train or download it again."
        )
    if not theta.is_floating_point() or not bool(torch.isfinite(theta.float()).all()):
        raise UserError(
            f"The safety prompt in {name} is damaged: it contains numbers that are not finite; train or download it again."
        )
    return config, theta.float(), text


def slot_of(config: PromptConfig) -> Slot:
    """Build the slot from the configuration."""
    slot = config.slot
    tokens, ids, shapes = tuple(slot.tokens), tuple(slot.token_ids), tuple(slot.shapes.items())
    return Slot(tokens, ids, slot.placement, slot.default_system, slot.source, shapes)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        return f"{where}: {message}" if where else message
    return " ".join(str(error).split())
