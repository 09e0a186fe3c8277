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

from zooter.data.files import atomic_path
from zooter.data.types import Ints
from zooter.errors import StoreError

KEY = "key"
TRIES = 5  # readings of a folder whose shards others merge meanwhile


@dataclass(frozen=True)
class Store:
    """One folder of shards. Every shard has a string column `key` beside the columns its owner chose."""

    folder: Path

    def missing(self, keys: Sequence[str]) -> Ints:
        """Positions in `keys` of the first occurrence of each key that has no cell yet."""
        wanted = pa.array(keys, pa.string())
        known = pc.is_in(wanted, value_set=self.table([KEY])[KEY].cast(pa.string()))
        _, first = np.unique(np.asarray(keys, dtype=object).astype(str), return_index=True)
        is_first = np.zeros(len(keys), dtype=bool)
        is_first[first] = True
        return np.flatnonzero(is_first & ~known.to_numpy(zero_copy_only=False))

    def append(self, cells: pa.Table) -> None:
        """Add cells as one new shard, whole or not at all."""
        try:
            with atomic_path(self.folder / f"{uuid.uuid4().hex}.parquet") as temporary:
                pq.write_table(cells, temporary)
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
        wanted = pa.array(keys, pa.string())
        cells = self.table(only=wanted)
        rows = pc.index_in(wanted, value_set=cells[KEY].cast(pa.string()))
        if rows.null_count:
            raise KeyError(f"{rows.null_count} of {len(keys)} keys have no cell in {self.folder}")
        return cells.take(rows)

    def table(self, columns: list[str] | None = None, only: pa.Array | None = None) -> pa.Table:
        """All cells, or those of some keys, in no particular order; a key that was appended twice is there twice.

        What a shard holds beside the wanted keys never stays in memory.
        """
        shards = self._each_shard(columns, only)
        empty = pa.table({KEY: pa.array([], pa.string())})
        return pa.concat_tables(shards, promote_options="default") if shards else empty

    def compact(self, most: int = 64, largest: int = 2**24) -> None:
        """Merge the small shards into one when there are more than `most` of them: opening files is what takes time.

        Safe at any moment and beside other processes: the merged shard lands before the small ones go, a key in both
        reads as one cell, and a reader whose shard has gone looks again.

        Args:
            largest: bytes from which a shard is left as it is.
        """
        try:
            small = [path for path in self._shards() if path.stat().st_size < largest]
            if len(small) <= most:
                return
            merged = pa.concat_tables([_read_shard(path, None) for path in small], promote_options="default")
        except FileNotFoundError:
            return  # another process is merging them
        self.append(merged)
        for path in small:
            path.unlink(missing_ok=True)

    def _each_shard(self, columns: list[str] | None, only: pa.Array | None) -> list[pa.Table]:
        for _ in range(TRIES):
            try:
                return [_read_cells(path, columns, only) for path in self._shards()]
            except FileNotFoundError:  # merged by another process since it was listed
                continue
        raise StoreError(
            expected=f"shards that stay in {self.folder} while they are read",
            found="that they keep going",
            do="run again when nothing else writes there",
        )

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))


def _read_cells(path: Path, columns: list[str] | None, only: pa.Array | None) -> pa.Table:
    if only is None:
        return _read_shard(path, columns)
    hit = pc.is_in(_read_shard(path, [KEY])[KEY].cast(pa.string()), value_set=only)
    if not pc.any(hit).as_py():
        schema = pq.read_schema(path)
        return pa.schema([schema.field(name) for name in columns or schema.names]).empty_table()
    return _read_shard(path, columns).filter(hit)


def _read_shard(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(
            expected=f"a Parquet shard at {path}",
            found=str(error).splitlines()[0],
            do="delete that file: what it held is computed again",
        ) from error
