"""Several processes that work on one run, started by a launcher such as torchrun. A single process needs none of this."""

from babelguard.parallel.group import (
    ProcessLost,
    any_process,
    launched,
    launched_rank,
    local_rank,
    local_world,
    rank,
    share,
    world,
)
from babelguard.parallel.work import FollowerFailed, everywhere, lead, run

__all__ = [
    "FollowerFailed",
    "ProcessLost",
    "any_process",
    "everywhere",
    "launched",
    "launched_rank",
    "lead",
    "local_rank",
    "local_world",
    "rank",
    "run",
    "share",
    "world",
]
