"""The files of a safety prompt: a validated config.json, the vectors as safetensors, and a model card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from torch import Tensor

from babelguard.errors import UserError
from babelguard.files import FileFault, read_json_file, read_text, reason, write_json, write_text
from babelguard.files.tensors import read_tensors, write_tensors
from babelguard.models.sketch import Sketch
from babelguard.prompt.placement import Placement
from babelguard.prompt.shapes import State
from babelguard.prompt.slot import Slot

# Since format 2, the configuration has a sketch of the base model, and the weights carry a checksum.
FORMAT = 2
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
TYPE: Final = "babelguard-safety-prompt"
# Name of the digest of the slot beside the vectors.
SLOT_DIGEST = "slot_sha256"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class SlotConfig(_Strict):
    """The slot in config.json; see `babelguard.prompt.slot.Slot`."""

    # The template protects the part of a token before its number.
    tokens: list[Annotated[str, Field(pattern=r"^\D\D")]] = Field(min_length=1)
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

    def digest(self) -> str:
        """Return the SHA-256 of the section. It is written beside the vectors, which only work in this slot."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()


class PromptConfig(_Strict):
    """The content of config.json."""

    format: int = Field(ge=1)
    type: Literal["babelguard-safety-prompt"]
    name: str
    seed: int
    base_model: str
    base_revision: str | None
    base_sketch: dict[str, str]
    base_licence: str | None
    length: int = Field(ge=1)
    width: int = Field(ge=1)
    scale: Literal["after the embedding scale"]
    template_sha256: str
    slot: SlotConfig
    training: dict[str, Any]

    @field_validator("name")
    @classmethod
    def _name_is_a_word(cls, name: str) -> str:
        # Tables call the model without a prompt `none`.
        if not name.strip() or name == "none" or not name.isprintable():
            raise ValueError("the name is empty, 'none', or contains control characters")
        return name

    @model_validator(mode="after")
    def _training_is_readable(self) -> PromptConfig:
        for known in ("start", "written"):
            if not isinstance(self.training.get(known, ""), str):
                raise ValueError(f"training.{known} is not a text")
        codes = self.training.get("languages", [])
        if not (isinstance(codes, list) and all(isinstance(code, str) for code in codes)):
            raise ValueError("training.languages is not a list of language codes")
        return self

    @field_validator("base_sketch")
    @classmethod
    def _sketch_is_readable(cls, lines: dict[str, str]) -> dict[str, str]:
        Sketch.parse(lines)
        return lines


def write(folder: Path, config: PromptConfig, theta: Tensor, card: str) -> None:
    """Write the files of a safety prompt. config.json is written last, so a folder with a config.json is complete.

    Raises:
        UserError: If the folder cannot be written.
    """
    write_tensors(folder / WEIGHTS, {"theta": theta.float()}, {SLOT_DIGEST: config.slot.digest()})
    write_text(folder / CARD, card)
    write_json(folder / CONFIG, config.model_dump(mode="json"))


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
        content = read_json_file(folder / CONFIG)
        number = content["format"] if isinstance(content, dict) and type(content.get("format")) is int else FORMAT
        if number > FORMAT:
            raise UserError(
                f"The safety prompt in {name} was written by a newer version of babelguard (format {number}); update "
                "babelguard."
            )
        if 0 < number < FORMAT:
            raise UserError(
                f"The safety prompt in {name} was written by an older version of babelguard (format {number}), which does not "
                "say enough about the base model; train it again."
            )
        config = PromptConfig.model_validate(content)
        tensors, texts, checked = read_tensors(folder / WEIGHTS)
        if tensors.keys() != {"theta"}:
            raise FileFault(folder / WEIGHTS, "it does not hold one tensor named theta")
        if not checked:
            raise FileFault(folder / WEIGHTS, "it has no checksum")
        if texts.get(SLOT_DIGEST) != config.slot.digest():
            raise FileFault(folder / CONFIG, "its section slot is not the one that the vectors were trained with")
        card = folder / CARD
        text = read_text(card) if card.exists() else ""
    except FileFault as error:
        if error.missing:
            raise UserError(f"{name} is not a safety prompt: {error.path.name} is missing.") from error
        raise _damaged(name, f"{error.path.name}: {error.why}") from error
    except ValidationError as error:
        raise _damaged(name, f"{CONFIG}: {reason(error)}") from error
    theta = tensors["theta"]
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


def _damaged(name: str, why: str) -> UserError:
    return UserError(
        f"The safety prompt in {name} is damaged or of an unknown kind ({why}); train or download it again."
    )
