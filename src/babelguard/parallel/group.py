"""The group of processes of a run, and what they send each other.

Objects and CPU tensors are sent by gloo. Only sharded weights use NCCL, on CUDA.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from babelguard.errors import UserError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

# Processes wait for the leading one while it judges replies, which may take days. The end of a process is noticed at once.
PATIENCE = timedelta(days=30)
# Set by every launcher.
NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")

_group: ProcessGroup | None = None


class ProcessLost(UserError):
    """Another process of this run has ended."""


def launched() -> int:
    """Return the number of processes that the launcher has started; 1 without a launcher."""
    return _number("WORLD_SIZE", 1)


def launched_rank() -> int:
    """Return the number of this process, counted from 0, before the processes have found each other."""
    return _number("RANK", 0) if launched() > 1 else 0


def local_rank() -> int:
    """Return the number of this process among those on its machine, counted from 0."""
    return _number("LOCAL_RANK", 0) if launched() > 1 else 0


def local_world() -> int:
    """Return the number of processes on this machine."""
    return _number("LOCAL_WORLD_SIZE", launched())


def join(sharded: bool = False) -> None:
    """Connect to the other processes.

    Args:
        sharded: Whether the processes will hold shards of one model.

    Raises:
        UserError: If the launcher has not said where they are.
    """
    global _group
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        raise UserError(
            f"WORLD_SIZE is {launched()}, but {missing[0]} is not set; start the command with torchrun, or unset WORLD_SIZE."
        )
    import torch
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if sharded and torch.cuda.is_available() else "gloo"
    with connected():
        if not distributed.is_initialized():
            distributed.init_process_group(backend)
        _group = distributed.new_group(backend="gloo", timeout=PATIENCE)


def leave() -> None:
    """Disconnect from the other processes."""
    global _group
    from torch import distributed

    _group = None
    distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process, counted from 0. Process 0 leads."""
    return 0 if _group is None else _group.rank()


def world() -> int:
    """Return the number of connected processes; 1 without a launcher."""
    return 1 if _group is None else _group.size()


def share(count: int, of: int | None = None) -> slice:
    """Return which of `count` items belong to a process. The shares are contiguous and differ in size by at most one.

    Args:
        count: Number of items.
        of: Number of the process; default: this one.
    """
    place, total = rank() if of is None else of, world()
    return slice(count * place // total, count * (place + 1) // total)


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process. Every process must call it."""
    import torch
    from torch import distributed

    value = torch.tensor(int(flag))
    with connected():
        distributed.all_reduce(value, distributed.ReduceOp.MAX, group=_group)
    return bool(value)


def send(thing: Any) -> None:
    """Send an object from the leading process to all others."""
    from torch import distributed

    with connected():
        distributed.broadcast_object_list([thing], src=0, group=_group)


def receive() -> Any:
    """Receive the object that the leading process sends."""
    from torch import distributed

    box = [None]
    with connected():
        distributed.broadcast_object_list(box, src=0, group=_group)
    return box[0]


def gather(thing: Any) -> list[Any]:
    """Return the objects of all processes, in order, in the leading one, and nothing in the others."""
    from torch import distributed

    found: list[Any] | None = [None] * world() if rank() == 0 else None
    with connected():
        distributed.gather_object(thing, found, dst=0, group=_group)
    return found or []


@contextmanager
def connected() -> Iterator[None]:
    """Raise ProcessLost if another process ends within the block."""
    try:
        yield
    except RuntimeError as error:
        if not is_broken_connection(error):
            raise
        raise ProcessLost(
            "Another process of this run has ended; finished work is kept: see its message, and run the same command again."
        ) from error


def is_broken_connection(error: BaseException) -> bool:
    """Whether an error means that another process cannot be reached."""
    from torch import distributed

    text = str(error).lower()
    lost = ("by peer", "connection", "socket", "timed out", "broken pipe", "no route")
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and any(w in text for w in lost)
    )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise UserError(f"The environment variable {name} is '{text}'; start the command with torchrun, or unset it.")
    return int(text)
