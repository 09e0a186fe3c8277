"""Store an append-only table on disk: a folder of Parquet shards whose rows are looked up by a content key.

A row is written once and never changed. Shards are written under a temporary name and renamed, so a process that is
killed leaves complete shards and at most one temporary file, which is never read.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zooter.data.files import atomic_path
from zooter.data.shards import (
    KEY,
    concatenate,
    divide_by_size,
    first_rows,
    read_keys,
    read_masked,
    read_masks,
    read_positions,
    read_shard,
)
from zooter.data.types import Ints
from zooter.errors import StoreError

Keys: TypeAlias = Sequence[str] | pa.Array
Result = TypeVar("Result")

GROUP = "group-"  # a folder of this prefix holds the shards of one group
MAX_READ_ATTEMPTS = 5  # how often a folder is listed again when other processes merge its shards


@dataclass(frozen=True)
class Store:
    """A folder of shards; every shard has a string column `key` beside the columns its writer chose.

    Attributes:
        folder: the folder of the shards; created on the first write.
        group: which rows are written and read, so that those of one candidate are looked up without reading the
            others'; rows that were written without a group are read too. None reads all groups.
    """

    folder: Path
    group: str | None = None

    def within(self, group: str) -> "Store":
        """Return the part of this store that holds one group.

        Args:
            group: letters and digits, such as a content key.
        """
        return replace(self, group=group)

    def missing(self, keys: Keys) -> Ints:
        """Find the keys that have no row yet: an anti-join on Arrow arrays, with no Python object per key.

        Memory holds the keys and `LOOKUP_ROWS` stored ones.

        Args:
            keys: content keys; repeats are allowed.

        Returns:
            Positions in `keys` of the first occurrence of each missing key, ascending.

        Raises:
            StoreError: a shard cannot be read.
        """
        key_array = pa.array(keys, pa.string())

        def is_stored(shards: Sequence[Path]) -> NDArray[np.bool_]:
            """Compare the keys with those of the shards, many shards at a time."""
            stored = np.zeros(len(key_array), dtype=bool)
            for _, stored_keys in read_keys(shards):
                stored |= pc.is_in(key_array, value_set=stored_keys).to_numpy(zero_copy_only=False)
            return stored

        absent = np.flatnonzero(~self._with_shards(is_stored))
        rows = pa.table({KEY: key_array.take(pa.array(absent)), "row": absent})
        return np.sort(rows.group_by(KEY).aggregate([("row", "min")])["row_min"].to_numpy())

    def append(self, cells: pa.Table, name: str | None = None) -> None:
        """Write rows as a new shard, completely or not at all.

        Args:
            cells: a table with a column `key`.
            name: of the shard; None takes a random one.

        Raises:
            StoreError: the shard cannot be written.
        """
        try:
            with atomic_path(self._own_folder / f"{name or uuid.uuid4().hex}.parquet") as temporary:
                pq.write_table(cells, temporary)
        except OSError as error:
            raise StoreError(
                expected=f"to write a shard into {self.folder}",
                found=str(error),
                do="free some space or choose another cache_dir=…",
            ) from error

    def append_part(self, cells: pa.Table, name: str) -> None:
        """Write rows as a part of the shard `name`, until `merge_parts` makes one file of its parts.

        Args:
            cells: a table with a column `key`.
            name: of the shard.

        Raises:
            StoreError: the part cannot be written.
        """
        self.append(cells, f"{name}-{uuid.uuid4().hex}")

    def named_keys(self, name: str) -> pa.Array:
        """Return the keys of the shard `name` and of its parts; no other shard is read.

        Args:
            name: of a shard, which need not be there.
        """
        shards = [read_shard(path, [KEY])[KEY].cast(pa.string()) for path in self._named(name)]
        return pa.chunked_array([chunk for shard in shards for chunk in shard.chunks], pa.string()).combine_chunks()

    def merge_parts(self, name: str) -> None:
        """Write the parts of the shard `name` as one file of that name, and delete them.

        Args:
            name: of a shard; without parts, nothing is done.

        Raises:
            StoreError: a part cannot be read, or the shard cannot be written.
        """
        paths = self._named(name)
        parts = [path for path in paths if path.stem != name]
        if parts:
            self.append(first_rows(concatenate(paths)), name)
        for path in parts:
            path.unlink(missing_ok=True)

    def read(self, keys: Keys) -> pa.Table:
        """Look up the rows of keys.

        Args:
            keys: content keys; repeats are allowed.

        Returns:
            One row per key, in the order of `keys`.

        Raises:
            KeyError: a key has no row; call `missing` first.
            StoreError: a shard cannot be read.
        """
        key_array = pa.array(keys, pa.string())
        cells = self.table(only=key_array)
        rows = pc.index_in(key_array, value_set=cells[KEY].cast(pa.string()))
        if rows.null_count:
            raise KeyError(f"{rows.null_count} of {len(keys)} keys have no cell in {self.folder}")
        return cells.take(rows)

    def table(self, columns: list[str] | None = None, only: pa.Array | None = None) -> pa.Table:
        """Read all rows, or those of some keys, in no particular order.

        Of a shard without a selected key, only the keys are read. A key that was appended twice has two rows.

        Args:
            columns: names of the columns; None reads all of them.
            only: string array of keys; None reads all rows.

        Returns:
            The rows; a column that a shard lacks is null there, and one that every shard lacks is left out.

        Raises:
            StoreError: a shard cannot be read.
        """

        def read(shards: Sequence[Path]) -> list[pa.Table]:
            """Read the selected rows of each shard."""
            if only is None:
                return [read_shard(path, columns) for path in shards]
            return [table for path, mask in read_masks(shards, only) for table in read_masked(path, columns, mask)]

        tables = self._with_shards(read)
        empty = pa.table({KEY: pa.array([], pa.string())})
        return pa.concat_tables(tables, promote_options="default") if tables else empty

    def read_shards(self, keys: pa.Array, columns: list[str], use: Callable[[pa.Table, Ints], None]) -> None:
        """Call a function with the selected rows of each shard in turn, so that memory holds one shard.

        Args:
            keys: string array of content keys; of a repeated one, the first counts.
            columns: names of the columns.
            use: gets rows of a shard and their positions in `keys`; a key in several shards comes several times, and
                all come again when another process merges shards meanwhile.

        Raises:
            StoreError: a shard cannot be read.
        """

        def read(shards: Sequence[Path]) -> None:
            """Read the shards that hold a selected key."""
            for path, rows in read_positions(shards, keys):
                selected = pc.is_valid(rows)
                if pc.any(selected).as_py():
                    use(read_shard(path, columns).filter(selected), rows.drop_null().to_numpy())

        self._with_shards(read)

    def compact(self, max_shards: int = 64, max_bytes: int = 2**24) -> None:
        """Merge small shards when there are many, because opening files dominates reading time.

        Safe at any time and beside other processes: a merged shard is written before the small ones are deleted, a
        key in both is read as one row, and a reader whose shard disappears lists the folder again.

        Args:
            max_shards: number of small shards that are left unmerged.
            max_bytes: size from which a shard no longer counts as small.

        Raises:
            StoreError: a shard cannot be read or written.
        """
        if self.group is None:
            for folder in sorted(self.folder.glob(f"{GROUP}*")):
                self.within(folder.name.removeprefix(GROUP)).compact(max_shards, max_bytes)
        try:
            sizes = {path: path.stat().st_size for path in sorted(self._own_folder.glob("*.parquet"))}
            small = {path: size for path, size in sizes.items() if size < max_bytes}
            if len(small) <= max_shards:
                return
            for paths in divide_by_size(small):
                self.append(concatenate(paths))
                for path in paths:
                    path.unlink(missing_ok=True)
        except FileNotFoundError:
            return  # another process is merging them

    @property
    def _own_folder(self) -> Path:
        return self.folder if self.group is None else self.folder / f"{GROUP}{self.group}"

    def _with_shards(self, read: Callable[[Sequence[Path]], Result]) -> Result:
        """Call `read` with the shards, again when another process has merged some of them meanwhile."""
        for _ in range(MAX_READ_ATTEMPTS):
            try:
                return read(self._shards())
            except FileNotFoundError:  # merged by another process since the folder was listed
                continue
        raise StoreError(
            expected=f"shards that stay in {self.folder} while they are read",
            found="that they keep going",
            do="run again when nothing else writes there",
        )

    def _shards(self) -> list[Path]:
        groups = f"{GROUP}*" if self.group is None else f"{GROUP}{self.group}"
        return [*sorted(self.folder.glob("*.parquet")), *sorted(self.folder.glob(f"{groups}/*.parquet"))]

    def _named(self, name: str) -> list[Path]:
        return [path for path in sorted(self._own_folder.glob(f"{name}*.parquet")) if _is_named(path, name)]


@contextmanager
def shard_of(cells: pa.Table, stores: Sequence[Store], name: str | None) -> Iterator[pa.Table]:
    """Work on a shard part after part: its parts become one file at the end, unless the work raises.

    Args:
        cells: all cells of the shard, with the column `key`.
        stores: that its parts are appended to.
        name: of the shard; None for cells that are no named shard, which are yielded as they are.

    Yields:
        The cells that no part of the shard holds yet.
    """
    if name is None:
        yield cells
        return
    for store in stores:
        cells = cells.filter(pc.invert(pc.is_in(cells[KEY], value_set=store.named_keys(name))))
    yield cells
    for store in stores:
        store.merge_parts(name)


def _is_named(path: Path, name: str) -> bool:
    return path.stem == name or path.stem.startswith(f"{name}-")
