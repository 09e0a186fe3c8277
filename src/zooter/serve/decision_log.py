"""The decision log: who answered which query and what, as Parquet in the recorded-table format (data/README.md)."""

import asyncio
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zooter.data.files import atomic_path

log = logging.getLogger(__name__)

MOST_AT_ONCE = 4  # files that wait for a slow disk
# `reward` is there for the format and empty: a rewarder fills it from `response`.
SCHEMA = pa.schema(
    [
        ("query", pa.large_string()),
        ("candidate", pa.large_string()),
        ("reward", pa.float64()),
        ("response", pa.large_string()),
        ("finish_reason", pa.large_string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost", pa.float64()),
        ("seconds", pa.float64()),
        ("why", pa.large_string()),
        ("probability", pa.float64()),
        ("time", pa.float64()),
    ]
)


@dataclass
class DecisionLog:
    """Collects rows and writes a file of them now and then; the oldest files make room.

    Attributes:
        folder: of its files, which end in .parquet.
        rows, seconds: a file is written after so many rows, or so long after its first one.
        largest: bytes of all files.
        lost: rows that could not be written.
    """

    folder: Path
    rows: int
    seconds: float
    largest: int
    lost: int = 0
    _writing: int = field(default=0, init=False)
    _waiting: list[Mapping[str, Any]] = field(default_factory=list, init=False)
    _writer: ThreadPoolExecutor = field(init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, "decision-log")

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row."""
        self._waiting.append(row)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self._flush)
        if len(self._waiting) >= self.rows:
            self._flush()

    async def close(self) -> None:
        """Write what is left."""
        self._flush()
        await asyncio.get_running_loop().run_in_executor(self._writer, _nothing)
        self._writer.shutdown(wait=False)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rows, self._waiting = self._waiting, []
        if rows and self._writing >= MOST_AT_ONCE:
            self.lost += len(rows)
            log.error("%d rows of the decision log are lost: the disk is too slow", len(rows))
        elif rows:
            self._writing += 1
            writing = asyncio.get_running_loop().run_in_executor(self._writer, write, self.folder, rows, self.largest)
            writing.add_done_callback(lambda done: self._written(done, len(rows)))

    def _written(self, done: asyncio.Future[None], rows: int) -> None:
        self._writing -= 1
        error = done.exception()
        if error is not None:
            self.lost += rows
            log.error("%d rows of the decision log are lost: %s", rows, error)


def write(folder: Path, rows: list[Mapping[str, Any]], largest: int) -> None:
    """Write rows as one file, whole or not at all, and delete the oldest files over the limit.

    Raises:
        OSError: the disk does not take it.
    """
    columns = {name: [row.get(name) for row in rows] for name in SCHEMA.names}
    path = folder / f"decisions-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{time.time_ns() % 10**9:09d}.parquet"
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns, schema=SCHEMA), temporary, compression="zstd")
    files = sorted(folder.glob("decisions-*.parquet"))
    sizes = [file.stat().st_size for file in files]
    while len(files) > 1 and sum(sizes) > largest:
        files.pop(0).unlink(missing_ok=True)
        sizes.pop(0)


def _nothing() -> None:
    """The last thing in the writer's queue: when it is done, all before it are."""
