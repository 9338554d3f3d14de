"""The training checkpoint: one safetensors file with the tensors, the progress and a checksum of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from babelguard.errors import UserError, damaged
from babelguard.files import FileFault, reason
from babelguard.files.tensors import read_tensors, write_tensors

FILE = "checkpoint.safetensors"


class Progress(BaseModel):
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

    model_config = ConfigDict(strict=True, extra="forbid", ser_json_inf_nan="constants")

    step: int = 0
    optimised: int = 0
    halved: int = 0
    start_score: float = float("inf")
    best_score: float = float("inf")
    best_step: int = -1
    history: list[dict[str, int | float]] = []


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], progress: Progress, run: str = "") -> None:
    """Write the checkpoint atomically: if the process is killed, the previous checkpoint remains.

    Args:
        folder: Its folder.
        tensors: The tensors.
        progress: The progress.
        run: Identifies the run that the checkpoint belongs to.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    write_tensors(folder / FILE, tensors, {"progress": progress.model_dump_json(), "run": run})


def load_checkpoint(
    folder: Path, like: Mapping[str, Tensor] | None = None, run: str | None = None
) -> tuple[dict[str, Tensor], Progress] | None:
    """Read the checkpoint.

    Args:
        folder: Its folder.
        like: Tensors with the names and shapes that it must have. None accepts any.
        run: Identifies the run that it must belong to. None accepts any.

    Returns:
        The tensors and the progress, or None if there is no checkpoint.

    Raises:
        UserError: If it is damaged, belongs to another run, or was written without a checksum by an older version.
    """
    path = folder / FILE
    try:
        tensors, texts, checked = read_tensors(path)
        if not checked:
            # A run of an older version cannot be resumed anyway.
            raise FileFault(path, "it has no checksum")
        # Checkpoints of earlier versions do not say which run they belong to.
        foreign = run is not None and texts.get("run", run) != run
        if like is not None and {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in like.items()}:
            foreign = True
        if foreign:
            raise FileFault(path, "it belongs to another run")
        return tensors, Progress.model_validate_json(texts.get("progress", ""))
    except FileFault as error:
        if error.missing:
            return None
        raise error.in_run() from error
    except ValidationError as error:
        raise UserError(damaged(path, reason(error))) from error
