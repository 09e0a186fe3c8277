"""Read stored embeddings into a mapped array, a shard at a time."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zooter.data.mapped import mapped_array
from zooter.data.store import Keys, Store
from zooter.data.types import Ints


def read_vectors(store: Store, keys: Keys) -> NDArray[np.float32]:
    """Read the embeddings of keys; memory holds the keys and one shard, whatever their number.

    Args:
        store: of rows with a column `vector`, all of one length e.
        keys: n content keys; repeats are allowed.

    Returns:
        (n, e), mapped from a temporary file; (0, 0) for no keys.

    Raises:
        KeyError: a key has no embedding.
        StoreError: a shard cannot be read.
    """
    if not len(keys):
        return np.empty((0, 0), dtype=np.float32)
    key_array = pa.array(keys, pa.string())
    first = pc.index_in(key_array, value_set=key_array).to_numpy()  # of a repeated key, the row that is read
    has_vector = np.zeros(len(key_array), dtype=bool)
    vectors: list[NDArray[np.float32]] = []

    def place(cells: pa.Table, rows: Ints) -> None:
        """Copy the embeddings of one shard to their rows."""
        column = cells["vector"].combine_chunks()
        if not vectors:
            vectors.append(mapped_array(len(key_array), column.type.list_size))
        vectors[0][rows] = column.flatten().to_numpy().reshape(len(rows), -1)
        has_vector[rows] = True

    store.read_shards(key_array, ["vector"], place)
    lacking = int((~has_vector[first]).sum())
    if lacking:
        raise KeyError(f"{lacking} of {len(keys)} keys have no embedding in {store.folder}")
    repeats = np.flatnonzero(first != np.arange(len(first)))
    vectors[0][repeats] = vectors[0][first[repeats]]
    return vectors[0]
