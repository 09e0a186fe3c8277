"""Cells on disk: append-only Parquet shards in one folder, found by a content key.

A cell is written once and never changed. Shards land by an atomic rename, so a process killed at any moment leaves
whole shards and at most one stray temporary file, which nobody reads.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zooter.errors import StoreError
from zooter.types import Ints

KEY = "key"


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write the whole file or nothing: a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Store:
    """One folder of shards. Every shard has a string column `key` beside the columns its owner chose."""

    folder: Path

    def missing(self, keys: Sequence[str]) -> Ints:
        """Positions in `keys` of the first occurrence of each key that has no cell yet."""
        wanted = pa.array(keys, pa.string())
        known = pc.is_in(wanted, value_set=self._column(KEY).cast(pa.string()))
        _, first = np.unique(np.asarray(keys, dtype=object).astype(str), return_index=True)
        is_first = np.zeros(len(keys), dtype=bool)
        is_first[first] = True
        return np.flatnonzero(is_first & ~known.to_numpy(zero_copy_only=False))

    def append(self, cells: pa.Table) -> None:
        """Add cells as one new shard, whole or not at all."""
        name = uuid.uuid4().hex
        temporary = self.folder / f".{name}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                pq.write_table(cells, temporary)
                temporary.replace(self.folder / f"{name}.parquet")
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                expected=f"to write a shard into {self.folder}",
                found=str(error),
                do="free some space or choose another cache_dir=…",
            ) from error

    def read(self, keys: Sequence[str]) -> pa.Table:
        """The cells of these keys, in this order, repeated where a key is.

        Raises:
            KeyError: a key has no cell; call `missing` first.
            StoreError: a shard cannot be read.
        """
        cells = self._all()
        rows = pc.index_in(pa.array(keys, pa.string()), value_set=cells[KEY].cast(pa.string()))
        if rows.null_count:
            raise KeyError(f"{rows.null_count} of {len(keys)} keys have no cell in {self.folder}")
        return cells.take(rows)

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def _column(self, name: str) -> pa.ChunkedArray:
        chunks = [chunk for path in self._shards() for chunk in _read_shard(path, [name])[name].chunks]
        return pa.chunked_array(chunks, pa.string())

    def _all(self) -> pa.Table:
        shards = [_read_shard(path, None) for path in self._shards()]
        return pa.concat_tables(shards) if shards else pa.table({KEY: pa.array([], pa.string())})


def _read_shard(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(
            expected=f"a Parquet shard at {path}",
            found=str(error).splitlines()[0],
            do="delete that file: what it held is computed again",
        ) from error
