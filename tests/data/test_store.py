"""Cells on disk."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zooter.data.files import write_atomically

from zooter.data.store import Store
from zooter.errors import StoreError


def cells(**value_of_key: float) -> pa.Table:
    return pa.table({"key": list(value_of_key), "value": list(value_of_key.values())})


def test_what_was_appended_is_read_in_the_order_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "cells")
    store.append(cells(a=1.0, b=2.0))
    store.append(cells(c=3.0))
    found = store.read(["c", "a", "c"])
    assert found["key"].to_pylist() == ["c", "a", "c"]
    assert found["value"].to_pylist() == [3.0, 1.0, 3.0]


def test_missing_gives_the_first_position_of_each_key_without_a_cell(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.missing(["b", "a", "b"]).tolist() == [0, 1]
    store.append(cells(a=1.0))
    assert store.missing(["b", "a", "b", "c"]).tolist() == [0, 3]
    assert store.missing(["a"]).tolist() == []
    assert store.missing([]).tolist() == []


@given(st.lists(st.lists(st.text("abc", min_size=1, max_size=2), max_size=6), max_size=5))
def test_filling_what_is_missing_stores_every_key_once(tmp_path_factory: pytest.TempPathFactory, asked: list) -> None:
    store = Store(tmp_path_factory.mktemp("cells"))
    written: list[str] = []
    for keys in asked:
        new = [keys[i] for i in store.missing(keys)]
        written += new
        store.append(pa.table({"key": pa.array(new, pa.string()), "value": pa.array(map(len, new), pa.int64())}))
        assert store.missing(keys).tolist() == []
        assert store.read(keys)["value"].to_pylist() == [len(key) for key in keys]
    assert sorted(written) == sorted(set(written))


def test_vectors_come_back_bit_by_bit(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 3)
    Store(tmp_path).append(pa.table({"key": [str(i) for i in range(5)], "vector": column}))
    found = Store(tmp_path).read(["4", "0"])["vector"].combine_chunks().flatten().to_numpy().reshape(2, 3)
    assert (found == vectors[[4, 0]]).all()


def test_a_key_given_twice_keeps_reading_as_one_cell(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(cells(a=1.0))
    store.append(cells(a=1.0))
    assert store.read(["a"])["value"].to_pylist() == [1.0]


def test_reading_a_key_that_has_no_cell_is_an_error_of_the_caller(tmp_path: Path) -> None:
    Store(tmp_path).append(cells(a=1.0))
    with pytest.raises(KeyError, match="1 of 2 keys have no cell"):
        Store(tmp_path).read(["a", "b"])


def test_a_stray_temporary_file_is_never_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(cells(a=1.0))
    (tmp_path / ".0123.tmp").write_bytes(b"PAR1 half a shard")
    assert store.read(["a"])["value"].to_pylist() == [1.0]
    assert store.missing(["a", "b"]).tolist() == [1]


def test_appending_leaves_shards_only(tmp_path: Path) -> None:
    Store(tmp_path).append(cells(a=1.0))
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]


@pytest.mark.parametrize("act", [lambda store: store.missing(["a"]), lambda store: store.read(["a"])])
def test_a_truncated_shard_is_refused_by_its_name(tmp_path: Path, act: object) -> None:
    store = Store(tmp_path)
    store.append(cells(a=1.0))
    (shard,) = tmp_path.glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(StoreError, match=rf"a Parquet shard at {shard}; found .*delete that file"):
        act(store)  # type: ignore[operator]


def test_a_folder_that_cannot_be_made_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match=r"to write a shard into .*cache/cells; found .*choose another cache_dir"):
        Store(tmp_path / "cache" / "cells").append(cells(a=1.0))


def test_writing_a_file_makes_its_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "file.txt", "é")
    write_atomically(tmp_path / "new" / "file.txt", b"second")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.txt"]
    assert (tmp_path / "new" / "file.txt").read_bytes() == b"second"


def test_a_write_that_fails_leaves_the_earlier_file_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").write_text("kept")
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", "a file cannot replace a folder")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken" / "inside").read_text() == "kept"


def test_compacting_keeps_every_cell_in_fewer_shards(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for i in range(10):
        store.append(cells(**{f"k{i}": float(i)}))
    store.compact(most=10)
    assert len(list(tmp_path.iterdir())) == 10
    store.compact(most=5)
    assert len(list(tmp_path.iterdir())) == 1
    assert store.read([f"k{i}" for i in range(10)])["value"].to_pylist() == list(range(10))


def test_compacting_leaves_large_shards_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for i in range(3):
        store.append(cells(**{f"k{i}": float(i)}))
    store.compact(most=1, largest=1)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_reader_whose_shard_was_merged_meanwhile_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    for i in range(3):
        store.append(cells(**{f"k{i}": float(i)}))
    before = store._shards()
    store.compact(most=1)
    listings = [before, store._shards()]
    monkeypatch.setattr(Store, "_shards", lambda self: listings.pop(0))
    assert len(store.table()) == 3


def test_shards_of_different_columns_are_read_together(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(cells(a=1.0))
    store.append(pa.table({"key": ["b"], "note": ["new"]}))
    assert store.read(["b", "a"]).to_pylist() == [
        {"key": "b", "value": None, "note": "new"},
        {"key": "a", "value": 1.0, "note": None},
    ]
    assert store.table(["key"]).column_names == ["key"]
