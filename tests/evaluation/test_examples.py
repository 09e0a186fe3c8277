"""Examples of a report, and the choices in each tag."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zooter.data.types import Ints, Tags
from zooter.evaluation import examples
from zooter.evaluation.selector_results import SelectorResults

NAMES = ("a", "b")


def differing(routed: list[int], single: list[int], mine: list[float], its: list[float]) -> dict[str, Any]:
    texts = [f"query {i}" for i in range(len(routed))]
    choices = np.array(routed), np.array(single)
    return examples.differing_queries(texts, NAMES, choices, (np.array(mine), np.array(its)))


def test_examples_go_from_the_largest_gain_to_the_largest_loss_and_have_both_rewards() -> None:
    # Query 0 is chosen alike, the reward of query 2 is not recorded, and query 5 has no response of the router.
    result = differing([0, 1, 1, 1, 1, -1], [0] * 6, [1, 0.25, np.nan, 0.75, 0.5, 0], [1, 1, 0, 0.5, 0.5, 1])
    assert (result["differing"], result["better"], result["worse"]) == (3, 1, 1)
    assert [row["query"] for row in result["rows"]] == ["query 3", "query 4", "query 1"]
    assert result["rows"][2] == {
        "query": "query 1", "routed": "b", "routed_reward": 0.25, "best_single": "a", "best_single_reward": 1.0,
    }  # fmt: skip


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=60))
def test_there_are_twenty_examples_where_as_many_differ_and_losses_are_never_hidden(leads: list[float]) -> None:
    n = len(leads)
    result = differing([1] * n, [0] * n, leads, [0.0] * n)
    rows = [row["routed_reward"] for row in result["rows"]]
    assert len(rows) == min(20, n)
    assert len({row["query"] for row in result["rows"]}) == len(rows)
    assert rows == sorted(rows, reverse=True)
    assert rows.count(-1.0) >= min(10, leads.count(-1.0))
    assert rows.count(1.0) >= min(10, leads.count(1.0))


def test_long_queries_are_cut() -> None:
    choices = np.array([1]), np.array([0])
    result = examples.differing_queries(["x" * 10_000], NAMES, choices, (np.zeros(1), np.ones(1)))
    assert result["rows"][0]["query"] == "x" * 399 + "…"


def test_the_choices_of_each_tag_are_counted_the_largest_tag_first() -> None:
    tags = Tags.from_rows([["sums"], ["sums", "poems"], ["sums"], []])
    rows = examples.choices_by_tag(np.array([0, 1, 0, 1]), NAMES, tags)
    assert rows == [
        {"tag": "sums", "queries": 3, "chosen": {"a": 2 / 3, "b": 1 / 3}},
        {"tag": "poems", "queries": 1, "chosen": {"b": 1.0}},
    ]


def results(quality: list[float], chosen: list[int]) -> SelectorResults:
    zeros: Ints = np.zeros(len(quality), dtype=np.int64)
    return SelectorResults(
        np.array(quality), zeros * 1.0, zeros * 1.0, np.zeros((len(quality), 2), dtype=np.int64),
        np.zeros((len(quality), 2), dtype=np.int64), zeros, zeros * 1.0, zeros, np.array(chosen),
    )  # fmt: skip


def test_of_several_selectors_the_router_gives_the_examples_or_else_the_best() -> None:
    single, oracle = results([1.0, 0.0], [0, 0]), results([1.0, 1.0], [0, 1])
    compared = {"best_single": single, "oracle": oracle, "routed": results([0.0, 0.0], [1, 0])}
    compared["margin"] = results([1.0, 1.0], [0, 1])
    references = ("best_single", "oracle")
    shown = examples.examples_of_selectors(compared, ["p", "q"], NAMES, references)
    assert shown is not None
    assert (shown["selector"], [row["query"] for row in shown["rows"]]) == ("routed", ["p"])
    del compared["routed"]
    shown = examples.examples_of_selectors(compared, ["p", "q"], NAMES, references)
    assert shown is not None
    assert (shown["selector"], [row["query"] for row in shown["rows"]]) == ("margin", ["q"])
    unknown = replace(compared["margin"], quality=np.full(2, np.nan))
    assert examples.examples_of_selectors({**compared, "margin": unknown}, ["p", "q"], NAMES, references) is None


def test_the_choices_of_selectors_count_where_they_are_recorded() -> None:
    compared = {"margin": results([1.0, np.nan, 0.0], [0, 1, 1])}
    counts = examples.choices_of_selectors(compared, NAMES, Tags.from_rows([["sums"], ["sums"], ["poems"]]))
    assert counts == {
        "margin": [
            {"tag": "sums", "queries": 2, "chosen": {"a": 0.5}},
            {"tag": "poems", "queries": 1, "chosen": {"b": 1.0}},
        ]
    }
