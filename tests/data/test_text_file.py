"""Texts in a file behave as those in a list."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter.data.text_file import TextFile, TextRows


def text_file(texts: list[str]) -> TextFile:
    file = TextFile()
    for text in texts:
        file.append(text)
    return file


@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_texts_are_those_of_a_list(texts: list[str]) -> None:
    file = text_file(texts)
    assert file == texts
    assert texts == file
    assert list(file) == texts
    assert (len(file), file[1:-1]) == (len(texts), texts[1:-1])
    assert [file[i] for i in range(-len(texts), len(texts))] == texts + texts
    assert pickle.loads(pickle.dumps(file)) == texts


def test_a_text_that_comes_after_others_were_read_is_read_too() -> None:
    file = text_file(["", "a"])
    assert file[1] == "a"
    file.append("ü")
    assert (file[2], file[0]) == ("ü", "")
    assert file != ["", "a"]
    with pytest.raises(IndexError):
        file[3]


def test_selected_texts_are_in_the_order_of_their_rows() -> None:
    rows = TextRows(text_file(["a", "b", "c"]), np.array([2, 0]))
    assert rows == ["c", "a"]
    assert (rows[1], rows[-2], rows[:1]) == ("a", "c", ["c"])
    assert pickle.loads(pickle.dumps(rows)) == ["c", "a"]
