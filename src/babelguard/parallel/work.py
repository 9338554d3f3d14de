"""How the processes of a run share its work: the first one leads, and the others do what it asks for.

The leading process runs the whole job: it reads and writes the files, shows the progress, asks the judges and updates the
soft prompt. For the work of the model it calls `lead`, which runs a function in every process on that process's copy of the
model and returns all results. Nothing else of the job has to know about the other processes, and only the leading one can
resume, so a run can be resumed with another number of processes.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeVar

from babelguard.errors import UserError, out_of_memory
from babelguard.parallel import group
from babelguard.parallel.group import ProcessLost

T = TypeVar("T")

# Whether all processes run every layer together, because each has a shard of it. Then an error cannot be reported to the
# leading process, which may be waiting within a layer.
_sharded = False


class FollowerFailed(UserError):
    """An error that the leading process does not know about."""


class _Outcome(NamedTuple):
    value: Any = None
    error: Exception | None = None


def run(job: Callable[[], T], load: Callable[[], Any], *, sharded: bool = False) -> T:
    """Run a job with all processes that the launcher has started.

    Args:
        job: The job. Only the leading process runs it. It must call `load`.
        load: Loads the model with `everywhere`. The other processes run it at once.
        sharded: Whether the processes hold shards of one model.

    Returns:
        The result of the job, in every process.

    Raises:
        ProcessLost: If another process has ended.
    """
    global _sharded
    if group.launched() == 1:
        return job()
    group.join(sharded)
    _sharded = sharded
    if group.rank() == 0:
        result = job()
        group.send((None, result))
    else:
        result = _follow(load())
    group.leave()
    _sharded = False
    return result


def everywhere(function: Callable[[], T], *, in_turn: bool = False) -> T:
    """Call a function in every process, and raise the first error in the leading one. Every process must call this.

    Args:
        function: The function.
        in_turn: Whether the processes of a machine take turns, so that only one of them needs memory for it at a time.
    """
    if group.world() == 1:
        return function()
    mine = _Outcome()
    for turn in range(group.local_world() if in_turn else 1):
        if not in_turn or turn == group.local_rank():
            mine = _attempt(function)
        _collect(_Outcome(error=mine.error))
    if mine.error is not None:
        group.receive()  # the leading process reports the error, and ends
        raise mine.error
    value: T = mine.value
    return value


def lead(function: Callable[..., Any], model: Any, *arguments: Any) -> list[Any]:
    """Call a function in every process, and return the results in the order of the processes.

    With a single process, this is only a call. Otherwise, tensors arrive on the CPU.

    Args:
        function: A function of a module. Each process calls it with its own model and these arguments.
        model: The model of the leading process.
        arguments: The other arguments.

    Raises:
        ProcessLost: If another process has ended.
    """
    if group.world() == 1:
        return [function(model, *arguments)]
    group.send((function, [_portable(one) for one in arguments]))
    return _work(function, model, arguments)


def _follow(model: Any) -> Any:
    """Do what the leading process asks for, until its job is done. Return the result of the job."""
    while True:
        function, arguments = group.receive()
        if function is None:
            return arguments
        _work(function, model, arguments)


def _work(function: Callable[..., Any], model: Any, arguments: Any) -> list[Any]:
    outcome = _attempt(lambda: function(model, *arguments))
    if _sharded and outcome.error is not None:
        if group.rank() == 0 or isinstance(outcome.error, ProcessLost):
            raise outcome.error
        raise FollowerFailed(str(outcome.error)) from outcome.error
    return _collect(outcome)


def _attempt(function: Callable[[], Any]) -> _Outcome:
    """Call a function, and return its result or its error in a form that can be sent."""
    try:
        # Processes only talk within the function if they hold shards of one model.
        with group.connected() if _sharded else nullcontext():
            return _Outcome(_portable(function()))
    except UserError as error:
        return _Outcome(error=error)
    except Exception as error:
        if group.rank() == 0 or _sharded:
            return _Outcome(error=error)
        # An error of a library may not be picklable. If memory ran out, the text must say so.
        what = "out of memory" if out_of_memory(error) else error
        return _Outcome(error=RuntimeError(f"Process {group.rank()}: {what}\n{traceback.format_exc()}"))


def _collect(outcome: _Outcome) -> list[Any]:
    """Return the results of all processes in the leading one, or raise the first error there."""
    if group.rank() > 0:
        return group.gather(outcome)
    found = [outcome, *group.gather(None)[1:]]  # its own outcome may not be picklable
    for one in found:
        if one.error is not None:
            raise one.error
    return [one.value for one in found]


def _portable(thing: Any) -> Any:
    """Move a tensor to the CPU, from which it can be sent."""
    if group.world() == 1:
        return thing
    import torch

    return thing.cpu() if isinstance(thing, torch.Tensor) else thing
