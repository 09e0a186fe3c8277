"""The decision log: queries, candidates and responses as Parquet in the recorded-table format (data/README.md)."""

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

MAX_PENDING_FILES = 4  # files that wait for a slow disk
# `reward` is part of the format and empty: a rewarder fills it from `response`.
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
    """Buffers rows and writes them to Parquet files; the oldest files are deleted over the size limit.

    Attributes:
        folder: folder of the files, which end in .parquet.
        max_rows: number of rows after which a file is written.
        max_seconds: seconds after a file's first row after which it is written.
        max_bytes: maximum size of all files.
        lost_rows: number of rows that could not be written.
    """

    folder: Path
    max_rows: int
    max_seconds: float
    max_bytes: int
    lost_rows: int = 0
    _pending_files: int = field(default=0, init=False)
    _rows: list[Mapping[str, Any]] = field(default_factory=list, init=False)
    _writer: ThreadPoolExecutor = field(init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, "decision-log")

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row.

        Args:
            row: column of `SCHEMA` → value; a missing column is null.
        """
        self._rows.append(row)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.max_seconds, self._flush)
        if len(self._rows) >= self.max_rows:
            self._flush()

    async def close(self) -> None:
        """Write the remaining rows and wait until they are on disk."""
        self._flush()
        await asyncio.get_running_loop().run_in_executor(self._writer, _barrier)
        self._writer.shutdown(wait=False)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rows, self._rows = self._rows, []
        if rows and self._pending_files >= MAX_PENDING_FILES:
            self.lost_rows += len(rows)
            log.error("%d rows of the decision log are lost: the disk is too slow", len(rows))
        elif rows:
            self._pending_files += 1
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._writer, write_rows, self.folder, rows, self.max_bytes)
            future.add_done_callback(lambda done: self._on_written(done, len(rows)))

    def _on_written(self, done: asyncio.Future[None], n_rows: int) -> None:
        self._pending_files -= 1
        error = done.exception()
        if error is not None:
            self.lost_rows += n_rows
            log.error("%d rows of the decision log are lost: %s", n_rows, error)


def write_rows(folder: Path, rows: list[Mapping[str, Any]], max_bytes: int) -> None:
    """Write rows to one file atomically, and delete the oldest files over the size limit.

    Args:
        folder: folder of the decision log.
        rows: column of `SCHEMA` → value, for each row.
        max_bytes: maximum size of all files; the newest file stays whatever its size.

    Raises:
        OSError: the file cannot be written.
    """
    columns = {name: [row.get(name) for row in rows] for name in SCHEMA.names}
    path = folder / f"decisions-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{time.time_ns() % 10**9:09d}.parquet"
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns, schema=SCHEMA), temporary, compression="zstd")
    files = sorted(folder.glob("decisions-*.parquet"))
    sizes = [file.stat().st_size for file in files]
    while len(files) > 1 and sum(sizes) > max_bytes:
        files.pop(0).unlink(missing_ok=True)
        sizes.pop(0)


def _barrier() -> None:
    """Do nothing, as the last job of the writer's queue: all jobs before it are done when it is."""
