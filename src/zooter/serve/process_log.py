"""Write the server's log to standard error, in a thread: a pipe that nobody reads must not stop the server."""

import logging
import logging.handlers
import os
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

MAX_WAITING = 1_000  # records
_STDERR = 2


class _DroppingHandler(logging.handlers.QueueHandler):
    """Queue records, and drop those for which there is no room."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put a record into the queue, or drop it where the queue is full."""
        with suppress(queue.Full):
            self.queue.put_nowait(record)


class _StderrHandler(logging.Handler):
    """Write to the file descriptor: a thread that waits inside sys.stderr would keep its lock at the end."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as one line; a closed standard error is ignored."""
        with suppress(OSError):  # there is nowhere left to say it
            os.write(_STDERR, f"{self.format(record)}\n".encode())


@contextmanager
def to_stderr() -> Iterator[None]:
    """Send all log records to standard error, and wait a second for the last ones at the end."""
    records: queue.Queue[Any] = queue.Queue(MAX_WAITING)
    writer = _StderrHandler()
    writer.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    handler = _DroppingHandler(records)
    handler.setFormatter(logging.Formatter("%(message)s"))  # the writer adds the rest
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.handlers.QueueListener(records, writer).start()
    yield
    end = time.monotonic() + 1.0
    while not records.empty() and time.monotonic() < end:
        time.sleep(0.01)
