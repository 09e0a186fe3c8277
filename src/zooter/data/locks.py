"""Lock a folder that one process at a time may write into."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from zooter.data.files import write_atomically
from zooter.data.remote import create, is_remote
from zooter.errors import StoreError

LOCK, HOLDER = ".lock", ".lock.json"


@contextmanager
def exclusive(folder: Path, purpose: str) -> Iterator[None]:
    """Hold a folder for the time of a block; the operating system frees the lock of a process that dies.

    Args:
        folder: is created where it is missing, and removed again if nothing was written into it.
        purpose: of the folder, for the message: "run folder", say.

    Raises:
        StoreError: another process holds it, or the folder cannot be made; at once, without waiting.
    """
    if is_remote(folder):
        with _exclusive_object(folder / HOLDER, purpose):
            yield
        return
    try:
        created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise StoreError(
            expected=f"a {purpose} that no other process writes into: {folder}",
            found=f"held by {_describe_holder(folder / HOLDER)}",
            do="wait until it has ended, or choose another folder",
        ) from error
    except OSError as error:
        raise StoreError(
            expected=f"a {purpose} that can be written: {folder}",
            found=error.strerror or str(error),
            do="choose another folder, or change its rights",
        ) from error
    try:
        write_atomically(folder / HOLDER, _holder())
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        (folder / LOCK).unlink(missing_ok=True)  # while it is held: who opened it in the meantime opens it anew
        lock.release()
        for parent in created:
            with suppress(OSError):  # it is not empty
                parent.rmdir()


@contextmanager
def _exclusive_object(path: Path, purpose: str) -> Iterator[None]:
    """Hold a folder of an object store by an object that only one process can create."""
    try:
        create(path, _holder().encode())
    except FileExistsError as error:
        raise StoreError(
            expected=f"a {purpose} that no other process writes into: {path.parent}",
            found=f"held by {_describe_holder(path)}",
            do=f"wait until it has ended, or choose another folder; if it was killed, delete {path}",
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _holder() -> str:
    """Describe this process as JSON."""
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
    return json.dumps(holder) + "\n"


def _describe_holder(path: Path) -> str:
    """Say which process holds a lock, on which machine and since when."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        ended = ", which has ended" if holder["host"] == socket.gethostname() and not _runs(holder["pid"]) else ""
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}{ended}"
    except (OSError, ValueError, KeyError):  # it has only just begun
        return "another process"


def _runs(pid: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
