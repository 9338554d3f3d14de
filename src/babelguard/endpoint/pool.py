"""Process tasks in parallel threads, where a finished task may create new ones."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_all(
    first: Iterable[Task],
    do: Callable[[Task], Result],
    handle: Callable[[Task, Result | Exception], Iterable[Task]],
    threads: int,
) -> None:
    """Process tasks until none are left.

    Args:
        first: The initial tasks.
        do: Processes one task. It is called in any of the threads.
        handle: Receives each task with its result, or the exception that was raised, and returns new tasks. It is called
            in the calling thread. If it raises, processing stops.
        threads: Number of threads. With 1, everything runs in the calling thread.
    """
    waiting: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Task, Result | Exception]] = queue.SimpleQueue()
    left = 0
    for task in first:
        waiting.put(task)
        left += 1
    stopped = threading.Event()

    def run() -> None:
        while not stopped.is_set() and (task := waiting.get()) is not None:
            if not stopped.is_set():
                done.put((task, _try(do, task)))

    # Daemon threads, so that Ctrl+C does not wait for replies.
    workers = [threading.Thread(target=run, daemon=True) for _ in range(threads if threads > 1 else 0)]
    for thread in workers:
        thread.start()
    try:
        while left:
            if workers:
                task, result = done.get()
            else:
                found = waiting.get()
                assert found is not None
                task, result = found, _try(do, found)
            left -= 1
            for more in handle(task, result):
                waiting.put(more)
                left += 1
    finally:
        stopped.set()
        for _ in workers:
            waiting.put(None)


def _try(do: Callable[[Task], Result], task: Task) -> Result | Exception:
    try:
        return do(task)
    except Exception as error:
        return error
