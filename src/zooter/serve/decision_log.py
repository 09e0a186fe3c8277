"""Log decisions: queries, candidates and responses as Parquet in the recorded-table format (data/README.md)."""

import asyncio
import logging
import re
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from prometheus_client import Counter

from zooter.data.files import atomic_path
from zooter.data.types import query_id
from zooter.errors import ConfigError
from zooter.serve.settings import ServeSettings
from zooter.serve.throttled_warning import ThrottledWarning

log = logging.getLogger(__name__)

MAX_CHARACTERS = 2**24  # of the rows in memory; a file is written when they exceed it
REDACTED = "***"
MAX_PENDING_FILES = 4  # files that wait for a slow disk
# `reward` is part of the format and empty: a rewarder fills it from `response`.
SCHEMA = pa.schema(
    [
        ("query", pa.large_string()),
        ("query_id", pa.large_string()),
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
    """Buffer rows and write them to Parquet files; the oldest files are deleted over the size limit.

    Attributes:
        settings: settings with the folder, the limits, and what is left out of texts.
        dropped_rows: counts rows that could not be written.
    """

    settings: ServeSettings
    dropped_rows: Counter
    _pending_files: int = field(default=0, init=False)
    _rows: list[Mapping[str, Any]] = field(default_factory=list, init=False)
    _characters: int = field(default=0, init=False)
    _writer: ThreadPoolExecutor = field(init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _patterns: tuple[re.Pattern[str], ...] = field(init=False)
    _warning: ThrottledWarning = field(init=False)

    def __post_init__(self) -> None:
        self._patterns = tuple(_compile(pattern) for pattern in self.settings.decisions_redact)
        self._warning = ThrottledWarning(log)
        self._check_folder()
        self._writer = ThreadPoolExecutor(1, "decision-log")

    @property
    def folder(self) -> Path:
        """Return the folder of the files, which end in .parquet."""
        assert self.settings.decisions is not None
        return self.settings.decisions

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row.

        Args:
            row: column of `SCHEMA` → value; a missing column is null.
        """
        self._rows.append(row)
        self._characters += len(row["query"]) + len(row.get("response") or "")
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.settings.decisions_seconds, self._flush)
        if len(self._rows) >= self.settings.decisions_rows or self._characters >= MAX_CHARACTERS:
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
        rows, self._rows, self._characters = self._rows, [], 0
        if rows and self._pending_files >= MAX_PENDING_FILES:
            self._lose(len(rows), "the disk is too slow")
        elif rows:
            self._pending_files += 1
            future = asyncio.get_running_loop().run_in_executor(self._writer, self._write, rows)
            future.add_done_callback(lambda done: self._on_written(done, len(rows)))

    def _write(self, rows: list[Mapping[str, Any]]) -> None:
        write_rows(self.folder, [self._without_secrets(row) for row in rows], self.settings.decisions_bytes)

    def _without_secrets(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a row with the id of its query, and without what the settings leave out of texts."""
        values = {**row, "query_id": query_id(row["query"])}
        for name in ("query", "response"):
            if not self.settings.decisions_texts:
                values[name] = None
            elif values.get(name) is not None:
                for pattern in self._patterns:
                    values[name] = pattern.sub(REDACTED, values[name])
        return values

    def _check_folder(self) -> None:
        """Create the folder if it is missing, and write to it as a check."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise ConfigError(
                expected=f"a folder for the decision log at {self.folder}",
                found=str(error),
                do="create it, let the server write to it, or set decisions to null",
            ) from error

    def _on_written(self, done: asyncio.Future[None], n_rows: int) -> None:
        self._pending_files -= 1
        error = done.exception()
        if error is not None:
            self._lose(n_rows, str(error))

    def _lose(self, n_rows: int, reason: str) -> None:
        self.dropped_rows.inc(n_rows)
        self._warning.warn("rows of the decision log are lost: %s", reason)


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
        temporary.touch(mode=0o600)  # it holds what users wrote
        pq.write_table(pa.table(columns, schema=SCHEMA), temporary, compression="zstd")
    files = sorted(folder.glob("decisions-*.parquet"))
    sizes = [_size(file) for file in files]
    while len(files) > 1 and sum(sizes) > max_bytes:
        files.pop(0).unlink(missing_ok=True)
        sizes.pop(0)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0  # another worker has deleted it


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            expected="regular expressions as decisions_redact", found=f"{pattern!r}: {error}", do="correct it"
        ) from error


def _barrier() -> None:
    """Do nothing, as the last job of the writer's queue: all jobs before it are done when it is."""
