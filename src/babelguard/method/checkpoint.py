"""The training checkpoint: one safetensors file with the tensors and the progress."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from babelguard.errors import UserError, cannot_write, damaged
from babelguard.files import sync

FILE = "checkpoint.safetensors"


@dataclass
class Progress:
    """The state of training besides tensors.

    Attributes:
        step: Steps done.
        optimised: Steps since the optimiser was last reset.
        halved: How often the learning rate was halved, each time after a collapse.
        start_score: Validation error of the start prompt.
        best_score: Lowest validation error so far.
        best_step: Step with the lowest validation error.
        history: The losses of every step.
    """

    step: int = 0
    optimised: int = 0
    halved: int = 0
    start_score: float = float("inf")
    best_score: float = float("inf")
    best_step: int = -1
    history: list[dict[str, float]] = field(default_factory=list)


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], progress: Progress) -> None:
    """Write the checkpoint atomically: if the process is killed, the previous checkpoint remains.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    target, draft = folder / FILE, folder / "checkpoint.part"
    contiguous = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(contiguous, draft, metadata={"progress": json.dumps(vars(progress))})
        sync(draft)
        os.replace(draft, target)
    except (OSError, SafetensorError) as error:
        raise UserError(cannot_write(target, error)) from error


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Progress] | None:
    """Read the checkpoint, or return None if there is none.

    Raises:
        UserError: If it is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
            return {k: file.get_tensor(k) for k in file.keys()}, progress  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(damaged(path)) from error
