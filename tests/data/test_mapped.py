"""Arrays in temporary files."""

import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest

from zooter.data import mapped
from zooter.data.mapped import chunks, mapped_array, mapped_rows
from zooter.data.text_file import TextFile
from zooter.errors import StoreError


def test_an_array_is_in_a_file_that_leaves_no_name_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    array = mapped_array(3, 2)
    array[1] = 5.0
    assert array.tolist() == [[0.0, 0.0], [5.0, 5.0], [0.0, 0.0]]
    assert isinstance(array.base, np.memmap)
    assert list(tmp_path.iterdir()) == []
    assert mapped_array(0, 2).shape == (0, 2)


def test_rows_are_copied_in_the_given_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "CHUNK_ROWS", 2)
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    assert mapped_rows(values, np.array([4, 0, 2])).tolist() == [[8.0, 9.0], [0.0, 1.0], [4.0, 5.0]]
    assert [chunk.indices(5)[:2] for chunk in chunks(5)] == [(0, 2), (2, 4), (4, 5)]


def test_a_temporary_file_without_room_says_where_to_make_some() -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    texts = TextFile()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"room for temporary files in .*set TMPDIR"):
            mapped_array(1_000, 1_000)
        with pytest.raises(StoreError, match=r"room for temporary files in .*set TMPDIR"):
            texts.append("x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
