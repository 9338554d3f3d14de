"""Locks, so that two processes do not write to one folder.

The lock is held by the operating system (`flock`), which releases it when a process ends, also when it is killed. The file
that carries it says who holds it. It is deleted when the work is done.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from babelguard.errors import UserError, cannot_write
from babelguard.files.records import Record, read_json_file
from babelguard.files.text import FileFault

# A hidden file, because it does not belong to the results.
LOCK = ".babelguard.lock"


class Holder(Record):
    """The process that holds a lock.

    Attributes:
        pid: Its number.
        host: The name of its machine.
        since: When it took the lock, in UTC.
    """

    pid: int
    host: str
    since: str


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder. The folder is created if it does not exist.

    Raises:
        UserError: If another process has the lock, or the folder cannot be written.
    """
    path = folder / LOCK
    # In a thread-local lock, a second thread of this process would not see who has the lock.
    lock = FileLock(path, blocking=False, thread_local=False, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (FileExistsError, NotADirectoryError) as error:
        what = "is a file, not a folder" if folder.is_file() else "is not a folder"
        raise UserError(f"The `output` {folder} {what}; choose another `output`.") from error
    except Timeout as error:
        raise UserError(
            f"{_holder(path)} is using the folder {folder}; wait until it has finished or stop it, or choose another "
            "`output`."
        ) from error
    except (OSError, NotImplementedError) as error:
        raise UserError(cannot_write(folder, error)) from error
    try:
        # A full disk does not matter here: the lock is held, and only its holder is unknown.
        with suppress(OSError):
            path.write_text(_me().model_dump_json() + "\n", encoding="utf-8")
        yield
    finally:
        # Deleted before the release. Whoever waits for the deleted file finds out and opens the new one.
        path.unlink(missing_ok=True)
        lock.release()


def _me() -> Holder:
    return Holder(pid=os.getpid(), host=socket.gethostname(), since=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))


def _holder(path: Path) -> str:
    try:
        found = Holder.model_validate(read_json_file(path))
    except (FileFault, ValidationError):  # it is being written
        return "Another process"
    return f"The process {found.pid} on {found.host} (since {found.since})"
