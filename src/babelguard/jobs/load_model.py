"""Load the model of a run in each of its processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from babelguard import parallel
from babelguard.config import Settings
from babelguard.errors import UserError
from babelguard.models.devices import choose_device
from babelguard.models.load import ChatModel, load_chat_model
from babelguard.models.sharding import make_mesh

T = TypeVar("T")
FSDP = "fsdp"


def with_all_processes(settings: Settings, job: Callable[[], T]) -> T:
    """Run a job that loads the model of these settings, with all processes that a launcher has started.

    Args:
        settings: The settings of the run.
        job: The job. Only the leading process runs it.

    Returns:
        The result of the job, in every process.

    Raises:
        UserError: If shards are wanted, but there is only one process.
    """
    sharded = settings.sharding == FSDP
    if sharded and parallel.launched() == 1:
        raise UserError(
            "`sharding` fsdp shares a model between several processes, but there is one; start the command with torchrun."
        )
    return parallel.run(job, lambda: load_model(settings).model, sharded=sharded)


def load_model(settings: Settings, say: Callable[[str], None] = lambda _: None) -> ChatModel:
    """Load the model of a run. Every process must call this.

    With shards, the processes of a machine take turns, because each of them reads the whole model into main memory.

    Args:
        settings: The settings of the run.
        say: Called with progress messages.

    Raises:
        UserError: If the model cannot be loaded or cannot be defended.
    """
    sharded = settings.sharding == FSDP
    mesh = make_mesh(choose_device(settings.device)) if sharded and parallel.world() > 1 else None

    def load() -> ChatModel:
        return load_chat_model(
            settings.model,
            revision=settings.revision,
            device=settings.device,
            dtype=settings.dtype,
            trust_remote_code=settings.trust_remote_code,
            say=say,
            mesh=mesh,
        )

    return parallel.everywhere(load, in_turn=sharded)
