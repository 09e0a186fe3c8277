"""Append-only tables on disk."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter.data.store import Store
from zooter.errors import StoreError


def cells(**value_of_key: float) -> pa.Table:
    return pa.table({"key": list(value_of_key), "value": list(value_of_key.values())})


def test_rows_are_read_in_the_order_of_the_keys(tmp_path: Path) -> None:
    store = Store(tmp_path / "cells")
    store.append(cells(a=1.0, b=2.0))
    store.append(cells(c=3.0))
    stored = store.read(["c", "a", "c"])
    assert stored["key"].to_pylist() == ["c", "a", "c"]
    assert stored["value"].to_pylist() == [3.0, 1.0, 3.0]


def test_missing_gives_the_first_position_of_each_key_without_a_cell(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.missing(["b", "a", "b"]).tolist() == [0, 1]
    store.append(cells(a=1.0))
    assert store.missing(["b", "a", "b", "c"]).tolist() == [0, 3]
    assert store.missing(["a"]).tolist() == []
    assert store.missing([]).tolist() == []


@given(st.lists(st.lists(st.text("abc", min_size=1, max_size=2), max_size=6), max_size=5))
def test_appending_the_missing_keys_stores_every_key_once(
    tmp_path_factory: pytest.TempPathFactory, asked: list
) -> None:
    store = Store(tmp_path_factory.mktemp("cells"))
    written: list[str] = []
    for keys in asked:
        new = [keys[i] for i in store.missing(keys)]
        written += new
        store.append(pa.table({"key": pa.array(new, pa.string()), "value": pa.array(map(len, new), pa.int64())}))
        assert store.missing(keys).tolist() == []
        assert store.read(keys)["value"].to_pylist() == [len(key) for key in keys]
    assert sorted(written) == sorted(set(written))


def test_vectors_are_stored_exactly(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 3)
    Store(tmp_path).append(pa.table({"key": [str(i) for i in range(5)], "vector": column}))
    stored = Store(tmp_path).read(["4", "0"])["vector"].combine_chunks().flatten().to_numpy().reshape(2, 3)
    assert (stored == vectors[[4, 0]]).all()


def test_a_key_that_was_appended_twice_is_read_as_one_row(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(cells(a=1.0))
    store.append(cells(a=1.0))
    assert store.read(["a"])["value"].to_pylist() == [1.0]


def test_reading_a_missing_key_raises_a_key_error(tmp_path: Path) -> None:
    Store(tmp_path).append(cells(a=1.0))
    with pytest.raises(KeyError, match="1 of 2 keys have no cell"):
        Store(tmp_path).read(["a", "b"])


def test_a_stray_temporary_file_is_never_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(cells(a=1.0))
    (tmp_path / ".0123.tmp").write_bytes(b"PAR1 half a shard")
    assert store.read(["a"])["value"].to_pylist() == [1.0]
    assert store.missing(["a", "b"]).tolist() == [1]


def test_appending_leaves_no_temporary_file(tmp_path: Path) -> None:
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


def test_compacting_keeps_every_cell_in_fewer_shards(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for i in range(10):
        store.append(cells(**{f"k{i}": float(i)}))
    store.compact(max_shards=10)
    assert len(list(tmp_path.iterdir())) == 10
    store.compact(max_shards=5)
    assert len(list(tmp_path.iterdir())) == 1
    assert store.read([f"k{i}" for i in range(10)])["value"].to_pylist() == list(range(10))


def test_compacting_leaves_large_shards_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for i in range(3):
        store.append(cells(**{f"k{i}": float(i)}))
    store.compact(max_shards=1, max_bytes=1)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_reader_whose_shard_was_merged_meanwhile_lists_the_folder_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    for i in range(3):
        store.append(cells(**{f"k{i}": float(i)}))
    before = store._shards()
    store.compact(max_shards=1)
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


def test_a_group_is_read_without_the_others_but_with_what_has_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(cells(old=0.0))
    store.within("a").append(cells(a=1.0))
    store.within("b").append(cells(b=2.0))
    keys = ["old", "a", "b"]
    assert store.missing(keys).tolist() == []
    assert store.within("a").missing(keys).tolist() == [2]
    assert sorted(store.within("b").table()["key"].to_pylist()) == ["b", "old"]


def test_the_parts_of_a_shard_become_one_file_with_each_key_once(tmp_path: Path) -> None:
    store = Store(tmp_path, "g")
    store.append_part(cells(a=1.0, b=2.0), "s")
    store.append_part(cells(b=3.0, c=4.0), "s")
    store.append_part(cells(d=5.0), "s2")
    assert sorted(store.named_keys("s").to_pylist()) == ["a", "b", "b", "c"]
    for _ in range(2):
        store.merge_parts("s")
        assert sorted(store.named_keys("s").to_pylist()) == ["a", "b", "c"]
    assert (tmp_path / "group-g" / "s.parquet").exists()
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    assert store.named_keys("never written").to_pylist() == []


def test_stored_keys_are_compared_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    for i in range(7):
        store.append(cells(**{f"k{i}": float(i)}))
    monkeypatch.setattr("zooter.data.shards.LOOKUP_ROWS", 3)
    assert store.missing([f"k{i}" for i in range(9)]).tolist() == [7, 8]
    assert store.read(["k6", "k0"])["value"].to_pylist() == [6.0, 0.0]


def test_merged_shards_stay_below_the_memory_for_merging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    for i in range(6):
        store.append(cells(**{f"k{i}": float(i)}))
    size = next(tmp_path.iterdir()).stat().st_size
    monkeypatch.setattr("zooter.data.shards.MERGED_BYTES", 2 * size)
    store.compact(max_shards=1)
    assert len(list(tmp_path.iterdir())) == 3
    assert len(store.table()) == 6
