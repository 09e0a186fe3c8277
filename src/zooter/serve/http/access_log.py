"""Log accesses: one JSON object per request, without query texts unless they are asked for."""

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Counter

from zooter.errors import ConfigError
from zooter.serve.throttled_warning import ThrottledWarning

MAX_WAITING = 10_000  # rows that wait for a slow disk or a full pipe
_BATCH = 256  # rows that are written at a time
_STDERR = 2
_REOPEN, _CLOSE = object(), object()


@dataclass
class AccessLog:
    """Write rows in a thread of its own: a pipe that nobody reads must not stop the event loop.

    Attributes:
        target: path of a file, which is appended to; "-" is standard error.
        dropped_rows: counts rows that could not be written.
    """

    target: str
    dropped_rows: Counter
    _warning: ThrottledWarning = field(init=False)
    _rows: queue.Queue[Any] = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._warning = ThrottledWarning(logging.getLogger(__name__))
        self._rows = queue.Queue(MAX_WAITING)
        # Not through sys.stderr: a thread that waits inside it would keep its lock when the process ends.
        file = _open(self.target)
        self._thread = threading.Thread(target=self._run, args=(file,), name="access-log", daemon=True)
        self._thread.start()

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one line with the time, soon; values of None are left out."""
        try:
            self._rows.put_nowait({"time": round(time.time(), 3), **row})
        except queue.Full:
            self._lose(1, "it is not written as fast as it grows")

    def reopen(self) -> None:
        """Open the file again, after it has been renamed by log rotation."""
        self._put(_REOPEN)

    def close(self, seconds: float = 2.0) -> None:
        """Write the rows that wait.

        Args:
            seconds: time for it; the rest is lost.
        """
        self._put(_CLOSE)
        self._thread.join(seconds)

    def _put(self, order: object) -> None:
        try:
            self._rows.put_nowait(order)
        except queue.Full:
            self._rows.get_nowait()  # an order counts more than a row
            self.dropped_rows.inc()
            self._rows.put_nowait(order)

    def _lose(self, count: int, reason: str) -> None:
        self.dropped_rows.inc(count)
        self._warning.warn("rows of the access log are lost: %s", reason)

    def _run(self, file: int) -> None:
        order: object = None
        while order is not _CLOSE:
            rows, order = self._next_rows()
            try:
                _write(file, rows)
                if order is not None and file != _STDERR:
                    os.close(file)
                if order is _REOPEN:
                    file = _open(self.target)
            except OSError as error:
                self._lose(len(rows), str(error))
            except ConfigError as error:
                file = _STDERR
                self._warning.warn("%s; it goes to standard error", error)

    def _next_rows(self) -> tuple[list[dict[str, Any]], object]:
        """Wait for rows; return those up to the next order, and that, or None."""
        rows = [self._rows.get()]
        while isinstance(rows[-1], dict) and len(rows) < _BATCH and not self._rows.empty():
            rows.append(self._rows.get())
        return (rows, None) if isinstance(rows[-1], dict) else (rows[:-1], rows[-1])


def _open(target: str) -> int:
    if target == "-":
        return _STDERR
    try:
        return os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ConfigError(expected=f"a file for the access log at {target}", found=str(error), do="check it") from error


def _write(file: int, rows: list[dict[str, Any]]) -> None:
    lines = [json.dumps({name: value for name, value in row.items() if value is not None}) + "\n" for row in rows]
    # A pipe takes up to PIPE_BUF bytes in one piece: lines of several workers then do not run into each other.
    for piece in lines if file == _STDERR else ["".join(lines)]:
        data = piece.encode()
        while data:
            data = data[os.write(file, data) :]
