"""Read the shards of a store: Parquet files with a string column `key`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zooter.errors import StoreError

KEY = "key"
LOOKUP_ROWS = 2**24  # stored keys that are compared at a time: less than 2 GB with their hash table
MERGED_BYTES = 2**27  # what is merged into one shard, and held in memory for it


def read_keys(shards: Sequence[Path]) -> Iterator[tuple[list[tuple[Path, int]], pa.Array]]:
    """Yield shards with their numbers of rows, and their keys in one array, of about `LOOKUP_ROWS` rows at a time."""
    batch: list[tuple[Path, int]] = []
    chunks: list[pa.Array] = []
    for path in shards:
        keys = read_shard(path, [KEY])[KEY].cast(pa.string())
        batch.append((path, len(keys)))
        chunks += keys.chunks
        if sum(map(len, chunks)) >= LOOKUP_ROWS:
            yield batch, pa.concat_arrays(chunks)
            batch, chunks = [], []
    if batch:
        yield batch, pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())


def read_masks(shards: Sequence[Path], only: pa.Array) -> Iterator[tuple[Path, pa.Array]]:
    """Iterate over shards with a mask of their rows whose key is selected; `only` is hashed once for many shards."""
    return _look_up(shards, lambda keys: pc.is_in(keys, value_set=only))


def read_positions(shards: Sequence[Path], keys: pa.Array) -> Iterator[tuple[Path, pa.Array]]:
    """Iterate over shards with the position in `keys` of each of their rows; null for a row of another key."""
    return _look_up(shards, lambda stored: pc.index_in(stored, value_set=keys))


def _look_up(shards: Sequence[Path], look_up: Callable[[pa.Array], pa.Array]) -> Iterator[tuple[Path, pa.Array]]:
    """Yield each shard with what is looked up of its keys, those of many shards at once."""
    for batch, keys in read_keys(shards):
        values, start = look_up(keys), 0
        for path, rows in batch:
            yield path, values.slice(start, rows)
            start += rows


def read_masked(path: Path, columns: list[str] | None, mask: pa.Array) -> list[pa.Table]:
    """Read the masked rows of a shard, or only its schema where there are none."""
    if pc.any(mask).as_py():
        return [read_shard(path, columns).filter(mask)]
    with path.open("rb") as file:
        schema = pq.read_schema(file)
    names = [name for name in columns or schema.names if name in schema.names]
    return [pa.schema([schema.field(name) for name in names]).empty_table()]


def concatenate(paths: Sequence[Path]) -> pa.Table:
    """Read whole shards into one table; a column that one of them lacks is null there."""
    return pa.concat_tables([read_shard(path, None) for path in paths], promote_options="default")


def first_rows(cells: pa.Table) -> pa.Table:
    """Keep the first row of each key."""
    rows = pa.table({KEY: cells[KEY], "row": np.arange(len(cells))}).group_by(KEY).aggregate([("row", "min")])
    return cells.take(pa.array(np.sort(rows["row_min"].to_numpy())))


def divide_by_size(sizes: Mapping[Path, int]) -> Iterator[list[Path]]:
    """Divide files into lists of about `MERGED_BYTES` each."""
    batch: list[Path] = []
    for path in sizes:
        batch.append(path)
        if sum(sizes[file] for file in batch) >= MERGED_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def read_shard(path: Path, columns: list[str] | None) -> pa.Table:
    """Read columns of a shard; None reads all of them, and one that it lacks is left out.

    Raises:
        FileNotFoundError: it was merged by another process.
        StoreError: it is damaged.
    """
    try:
        with path.open("rb") as file, pq.ParquetFile(file) as shard:
            present = shard.schema_arrow.names
            return shard.read(None if columns is None else [name for name in columns if name in present])
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(
            expected=f"a Parquet shard at {path}",
            found=str(error).splitlines()[0],
            do="delete that file: what it held is computed again",
        ) from error
