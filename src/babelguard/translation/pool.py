"""Work on several requests at a time, where a finished one may bring new ones."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


def run_all(
    first: Iterable[Work],
    do: Callable[[Work], Result],
    handle: Callable[[Work, Result | Exception], Iterable[Work]],
    threads: int,
) -> None:
    """Do all work, and all that it brings.

    Args:
        first: What is there at the beginning.
        do: Called in any of the threads.
        handle: Called in the calling thread, one at a time, with each result or what was raised instead; returns
            further work, and ends everything by raising.
        threads: How many; 1 does everything in the calling thread.
    """
    todo: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Work, Result | Exception]] = queue.SimpleQueue()
    left = 0
    for work in first:
        todo.put(work)
        left += 1
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set() and (work := todo.get()) is not None:
            if not stopped.is_set():
                done.put((work, _try(do, work)))

    # Daemons: a thread that waits for a reply does not hold up Ctrl+C.
    crew = [threading.Thread(target=serve, daemon=True) for _ in range(threads if threads > 1 else 0)]
    for thread in crew:
        thread.start()
    try:
        while left:
            if crew:
                work, result = done.get()
            else:
                found = todo.get()
                assert found is not None
                work, result = found, _try(do, found)
            left -= 1
            for more in handle(work, result):
                todo.put(more)
                left += 1
    finally:
        stopped.set()
        for _ in crew:
            todo.put(None)


def _try(do: Callable[[Work], Result], work: Work) -> Result | Exception:
    try:
        return do(work)
    except Exception as error:
        return error
