"""The cache of responses and rewards."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zooter.data.cache import ResponseCache
from zooter.data.content_keys import content_key, response_key_array, response_keys, reward_keys
from zooter.data.types import Query, Response

QUERY = Query("1", "What is 2 + 2?", "4", ("arithmetic",))
RESPONSE = Response("1", "small", 0, "4", first_tokens=(("4", -0.1), ("5", -2.5)), input_tokens=7, cost=0.5)
FAILED = Response("1", "small", 1, "", error="timed out")


@pytest.fixture
def cache(tmp_path: Path) -> ResponseCache:
    cache = ResponseCache(tmp_path)
    cache.add_responses([("a", RESPONSE), ("b", FAILED), ("b", FAILED)], {"small": "{}"})
    return cache


def test_a_response_is_loaded_as_it_was_stored_and_a_missing_one_is_none(cache: ResponseCache) -> None:
    assert cache.load_responses(["b", "a"]) == [None, RESPONSE]
    assert cache.load_columns(["a", "c"], ["text", "cost"]).to_pylist() == [
        {"text": "4", "cost": 0.5},
        {"text": None, "cost": None},
    ]


def test_failed_calls_are_counted_by_key_and_by_reason(cache: ResponseCache) -> None:
    assert cache.failure_counts(["a", "b", "b"]).tolist() == [0, 2, 2]
    assert cache.failure_reasons(["a", "b"]) == {"timed out": 2}
    assert cache.failure_reasons(["a"]) == {}


def test_a_missing_reward_is_stored_as_a_failure(cache: ResponseCache) -> None:
    assert np.isnan(cache.load_rewards(["x"])).all()
    cache.add_rewards(["x", "y"], [RESPONSE, RESPONSE], np.array([0.25, np.nan]), {"rewarder": "fake"})
    np.testing.assert_array_equal(cache.load_rewards(["y", "x"]), [np.nan, 0.25])
    assert cache.failure_reasons(["x", "y"]) == {"no reward": 1}


def test_the_order_of_an_identity_does_not_change_a_key_but_its_values_do() -> None:
    keys = [response_keys(identity, [QUERY], 0) for identity in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3})]
    assert keys[0] == keys[1] != keys[2]
    assert len(content_key("x")) == 32


def test_the_keys_of_millions_of_cells_are_those_of_a_few() -> None:
    queries = [QUERY, Query("2", 'a "quoted" \ud800 Ü\n')]
    keys = [
        content_key(content_key("response", '{"a": 1}'), query.text, sample) for sample in range(2) for query in queries
    ]
    assert response_key_array({"a": 1}, queries, 2).to_pylist() == keys


@pytest.mark.parametrize(
    ("query", "response"),
    [
        (replace(QUERY, text="What is 2 × 2?"), RESPONSE),
        (replace(QUERY, reference="four"), RESPONSE),
        (QUERY, replace(RESPONSE, text="four")),
        (QUERY, replace(RESPONSE, finish_reason="length")),
    ],
    ids=["text", "reference", "response", "finish reason"],
)
def test_whatever_a_rewarder_reads_changes_the_key_of_a_reward(query: Query, response: Response) -> None:
    assert reward_keys({}, [query], [response]) != reward_keys({}, [QUERY], [RESPONSE])


def test_tags_change_the_key_of_a_reward_only_if_the_rewarder_chooses_by_tag() -> None:
    untagged = replace(QUERY, tags=())
    assert reward_keys({}, [untagged], [RESPONSE]) == reward_keys({}, [QUERY], [RESPONSE])
    by_tag = {"by_tag": {"arithmetic": "number"}}
    assert reward_keys(by_tag, [untagged], [RESPONSE]) != reward_keys(by_tag, [QUERY], [RESPONSE])


def test_names_and_prices_do_not_change_a_key() -> None:
    renamed = replace(RESPONSE, candidate="large", cost=9.0)
    assert reward_keys({}, [replace(QUERY, id="2")], [renamed]) == reward_keys({}, [QUERY], [RESPONSE])
