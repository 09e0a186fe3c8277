"""Recorded tables as training reads them."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter.data import reward_table
from zooter.data.types import query_id
from zooter.errors import ConfigError, RecordsError

Write = Callable[..., Path]
NAN = np.nan


def row(query: str, candidate: str, reward: float | None, **more: Any) -> dict[str, Any]:
    return {"query": query, "candidate": candidate, "reward": reward, **more}


PAIR = [row("q1", "a", 1.0), row("q1", "b", 0.5)]


def refusal(path: Path) -> str:
    with pytest.raises(RecordsError) as caught:
        reward_table.read(path)
    return str(caught.value)


# -- what a table means


def test_samples_of_a_cell_are_averaged_and_missing_cells_are_nan(jsonl: Write) -> None:
    table = reward_table.read(
        jsonl(
            row("q2", "b", 1.0, sample=0),
            row("q2", "b", 0.0, sample=1),
            row("q2", "b", None, sample=2),  # no reward: not a zero
            row("q1", "a", -3.0),
        )
    )
    assert table.queries == ["q2", "q1"]  # in order of first appearance
    assert table.pool.names == table.rewards.candidates == ("a", "b")  # in alphabetical order
    np.testing.assert_array_equal(table.rewards.values, [[NAN, 0.5], [-3.0, NAN]])
    assert table.samples.query.tolist() == [0, 0, 0, 1]
    assert table.samples.candidate.tolist() == [1, 1, 1, 0]
    assert table.samples.sample.tolist() == [0, 1, 2, 0]
    np.testing.assert_array_equal(table.samples.reward, [1.0, 0.0, NAN, -3.0])


def test_duplicate_rows_count_as_samples(jsonl: Write) -> None:
    table = reward_table.read(jsonl(*PAIR, row("q1", "a", 0.0), row("q1", "a", 0.0)))
    np.testing.assert_allclose(table.rewards.values, [[1 / 3, 0.5]])


def test_queries_are_told_apart_by_their_exact_text(jsonl: Write) -> None:
    texts = ["q", "Q", "q ", "é", "e\u0301"]
    table = reward_table.read(jsonl(*[row(text, name, 1.0) for text in texts for name in ("a", "b")]))
    assert table.queries == texts
    assert len(set(table.query_ids)) == 5


def test_ids_are_those_given_or_the_hash_of_the_text(jsonl: Write) -> None:
    table = reward_table.read(jsonl(row("q1", "a", 1.0, query_id="first"), row("q1", "b", 1.0), row("q2", "a", 1.0)))
    assert table.query_ids == ["first", query_id("q2")]
    assert len(query_id("q2")) == 32
    assert int(query_id("q2"), 16)


def test_tags_of_all_rows_of_a_query_are_joined_and_null_tags_are_none(jsonl: Write) -> None:
    table = reward_table.read(
        jsonl(
            row("q1", "a", 1.0, tags=["law", "art"]),
            row("q1", "b", 1.0, tags=["law"]),
            row("q2", "a", 1.0, tags=None),
            row("q3", "a", 1.0, tags=[]),
            row("q4", "b", 1.0, tags=["biology"]),
        )
    )
    assert table.tags.names == ("art", "biology", "law")
    assert table.tags.membership.toarray().tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_a_table_without_tags_has_none(jsonl: Write, parquet: Write) -> None:
    for path in (jsonl(*PAIR), parquet(tags=[None] * 4)):
        table = reward_table.read(path)
        assert table.tags.membership.shape == (len(table.queries), 0)


def test_prices_are_stored_in_the_pool_and_an_unknown_name_is_refused(jsonl: Write) -> None:
    assert reward_table.read(jsonl(*PAIR), {"b": 2.0}).pool.to_rows()[1] == {"name": "b", "price": 2.0}
    with pytest.raises(ConfigError, match="found a price for 'c'"):
        reward_table.read(jsonl(*PAIR), {"c": 2.0})


def test_a_folder_is_one_table(tmp_path: Path, jsonl: Write, parquet: Write) -> None:
    jsonl(row("q2", "c", 9.0, tags=["law"]), row("q9", "a", 7.0), name="2.jsonl")
    parquet(name="1.parquet")
    table = reward_table.read(tmp_path)
    assert table.queries == ["q1", "q2", "q9"]
    np.testing.assert_array_equal(table.rewards.values, [[1.0, 0.5, NAN], [0.25, 0.0, 9.0], [7.0, NAN, NAN]])
    assert table.tags.membership.toarray().ravel().tolist() == [0, 1, 0]


CELLS = st.tuples(
    st.sampled_from(["q", "Q", "ü", "4"]),
    st.sampled_from(["a", "b", "c"]),
    st.none() | st.integers(-8, 8).map(lambda x: x / 4),
    st.lists(st.sampled_from(["x", "y"]), max_size=2),
    st.integers(0, 3),
)
GOOD = [("q", name, 1.0, ["x"], 0) for name in ("a", "b", "c")]


@given(st.lists(CELLS, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_format_do_not_change_the_table(
    tmp_path_factory: pytest.TempPathFactory, cells: list[Any], random: Any
) -> None:
    records = [row(q, c, r, tags=tags, sample=s) for q, c, r, tags, s in GOOD + cells]
    tables = []
    for suffix in ("parquet", "jsonl"):
        path = tmp_path_factory.mktemp("table") / f"table.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(records), path, row_group_size=7)
        else:
            path.write_text("\n".join(map(json.dumps, records)))
        tables.append(reward_table.read(path))
        random.shuffle(records)
    first, second = tables
    assert first.pool == second.pool
    assert first.tags.names == second.tags.names
    assert first.dropped == second.dropped
    place = np.array([second.queries.index(query) for query in first.queries])
    np.testing.assert_array_equal(first.rewards.values, second.rewards.values[place])
    assert (first.tags.membership != second.tags.membership[place]).nnz == 0
    expected = {
        (q, c): np.mean(
            [r["reward"] for r in records if (r["query"], r["candidate"]) == (q, c) and r["reward"] is not None]
        )
        for q, c in {(r["query"], r["candidate"]) for r in records if r["reward"] is not None}
    }
    values = first.rewards.values
    actual = {(q, c): values[i, j] for i, q in enumerate(first.queries) for j, c in enumerate(first.pool.names)}
    assert {cell: value for cell, value in actual.items() if not np.isnan(value)} == expected


def test_rows_without_the_reward_key_are_read_in_any_position(jsonl: Write) -> None:
    bare = {"query": "q1", "candidate": "b"}
    for path in (jsonl(bare, *PAIR, name="1.jsonl"), jsonl(*PAIR, bare, name="2.jsonl")):
        assert reward_table.read(path).rewards.values.tolist() == [[1.0, 0.5]]


def test_text_columns_of_dictionaries_and_whole_rewards_are_read(parquet: Write) -> None:
    text = pa.array(["q1", "q1", "q2", "q2"]).dictionary_encode()
    table = reward_table.read(
        parquet(query=text, reward=pa.array([1, 0, None, 3], pa.int32()), sample=[0.0, 1.0, None, 0.0])
    )
    assert table.queries == ["q1", "q2"]
    np.testing.assert_array_equal(table.rewards.values, [[1.0, 0.0], [NAN, 3.0]])


def test_a_query_of_a_megabyte_is_one_query(jsonl: Write) -> None:
    long = "x" * 2**20
    table = reward_table.read(jsonl(*PAIR, row(long, "a", 1.0), row(long, "b", 0.0)))
    assert [len(query) for query in table.queries] == [2, 2**20]


def test_many_batches_form_one_table_and_row_numbers_continue_across_them(parquet: Write) -> None:
    n = 70_000  # more than one batch holds
    columns = {"query": [f"q{i // 2}" for i in range(n)], "candidate": ["a", "b"] * (n // 2)}
    table = reward_table.read(parquet(**columns, reward=np.arange(n, dtype=float)))
    assert table.queries[-1] == f"q{n // 2 - 1}"
    assert (table.rewards.values.ravel() == np.arange(n)).all()
    columns["candidate"][69_998] = " "
    assert "found an empty one at row 69999" in refusal(parquet(**columns, reward=np.arange(n, dtype=float)))


# -- what is left out


def test_a_query_without_rewards_is_dropped_and_counted(jsonl: Write, caplog: pytest.LogCaptureFixture) -> None:
    path = jsonl(row("lost", "a", None, tags=["x"]), *PAIR, row("gone", "b", None))
    with caplog.at_level(logging.WARNING):
        table = reward_table.read(path)
    assert "2 of 3 queries have no reward at all and are left out" in caplog.text
    assert table.dropped == 2
    assert table.queries == ["q1"]
    assert table.samples.query.tolist() == [0, 0]
    assert table.tags.membership.shape[0] == 1


def test_nothing_is_logged_if_no_query_is_dropped(jsonl: Write, caplog: pytest.LogCaptureFixture) -> None:
    assert reward_table.read(jsonl(*PAIR)).dropped == 0
    assert not caplog.records


# -- what is refused


@pytest.mark.parametrize("column", ["query", "candidate", "reward"])
def test_a_missing_column_is_named(parquet: Write, jsonl: Write, column: str) -> None:
    bare = [{key: value for key, value in record.items() if key != column} for record in PAIR]
    for path in (parquet(without=column), jsonl(*bare)):
        message = refusal(path)
        assert message.startswith(f"expected the columns ['query', 'candidate', 'reward'] in {path}; found [")
        assert f"so ['{column}'] missing; rename or add them" in message


@pytest.mark.parametrize("column", ["query", "candidate"])
@pytest.mark.parametrize("text", ["", "  \t", "\u00a0", None])
def test_an_empty_text_is_named_by_its_row(jsonl: Write, column: str, text: str | None) -> None:
    path = jsonl(*PAIR, {**PAIR[0], column: text})
    assert f"a text in column {column!r} of every row of {path}; found an empty one at row 3" in refusal(path)


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_an_infinite_reward_is_named_by_its_row(parquet: Write, jsonl: Write, infinite: float) -> None:
    path = parquet(reward=[1.0, 2.0, infinite, 1.0])
    assert refusal(path) == (
        f"expected finite rewards in {path}; found {infinite} at row 3; write null where there is no reward"
    )
    assert f"found {infinite} at row 2" in refusal(jsonl(PAIR[0], row("q1", "b", infinite)))  # JSON's Infinity


def test_a_null_among_tags_is_named_by_its_row(jsonl: Write) -> None:
    path = jsonl(row("q1", "a", 1.0, tags=["x"]), row("q1", "b", 1.0, tags=["x", None]))
    assert f"expected tags that are texts in {path}; found null at row 2" in refusal(path)


def test_one_candidate_is_refused(jsonl: Write) -> None:
    path = jsonl(PAIR[0], row("q2", "a", 0.0))
    assert f"expected at least two candidates in {path}; found only 'a'" in refusal(path)


def test_a_candidate_without_rewards_is_refused_by_its_name(jsonl: Write) -> None:
    path = jsonl(*PAIR, row("q1", "c", None))
    assert f"at least one reward for every candidate in {path}; found none for ['c']" in refusal(path)


def test_a_table_without_rewards_is_refused(jsonl: Write) -> None:
    path = jsonl(row("q1", "a", None), row("q1", "b", NAN))
    assert f"expected rewards in {path}; found null in every row" in refusal(path)


def test_a_table_without_rows_is_refused(parquet: Write, jsonl: Write) -> None:
    text = pa.array([], pa.string())
    path = parquet(query=text, candidate=text, reward=pa.array([], pa.float64()))
    assert f"expected at least one row in {path}; found none" in refusal(path)
    assert "found an empty file" in refusal(jsonl())


# -- queries to be routed


def test_queries_need_no_other_column_and_keep_order_repeats_and_ids(jsonl: Write, parquet: Write) -> None:
    texts, ids = reward_table.read_queries(
        jsonl({"query": "b", "query_id": "7"}, {"query": "a"}, {"query": "b", "x": 1})
    )
    assert texts == ["b", "a", "b"]
    assert ids == ["7", query_id("a"), query_id("b")]
    assert reward_table.read_queries(parquet())[0] == ["q1", "q1", "q2", "q2"]


def test_queries_that_cannot_be_used_are_refused(jsonl: Write) -> None:
    with pytest.raises(RecordsError, match=r"expected the columns \['query'\] in .*; found \['text'\]"):
        reward_table.read_queries(jsonl({"text": "q"}))
    with pytest.raises(RecordsError, match="found an empty one at row 2"):
        reward_table.read_queries(jsonl({"query": "q"}, {"query": " "}))
