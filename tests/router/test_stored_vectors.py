"""Stored embeddings, a shard at a time."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from zooter.data.store import Store
from zooter.router.stored_vectors import read_vectors


def shard(**vectors: list[float]) -> pa.Table:
    values = pa.array(np.array(list(vectors.values()), dtype=np.float32).ravel())
    return pa.table({"key": list(vectors), "vector": pa.FixedSizeListArray.from_arrays(values, 2)})


def test_vectors_come_in_the_order_of_the_keys_from_any_shard_and_for_repeated_keys(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(shard(a=[1, 2], b=[3, 4], other=[9, 9]))
    store.append(shard(c=[5, 6], a=[1, 2]))
    store.append(shard(unused=[7, 7]))
    vectors = read_vectors(store, ["c", "a", "c", "b", "a"])
    assert vectors.tolist() == [[5, 6], [1, 2], [5, 6], [3, 4], [1, 2]]
    assert vectors.dtype == np.float32


def test_a_key_without_a_vector_is_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(shard(a=[1, 2]))
    with pytest.raises(KeyError, match="2 of 3 keys have no embedding"):
        read_vectors(store, ["x", "a", "x"])
