"""Mean rewards per tag and the ranks over them."""

import math

import numpy as np
import pytest

from zooter.data.types import Rewards, Tags
from zooter.metrics.per_tag import by_tag, finite_or_none

TEST = Rewards(np.array([[1.0, 0.0], [0.0, math.nan], [0.0, 1.0]]), ("a", "b"))


def test_means_and_ranks_over_two_tags_are_worked_out_by_hand() -> None:
    found = by_tag({"mine": np.array([1.0, 0.0, 0.5])}, TEST, Tags.of([["x"], ["x"], ["y"]]))
    # x: mine 0.5; a 0.5, b 0.0. y: mine 0.5; a 0.0, b 1.0
    assert found["tags"] == [
        {"tag": "x", "queries": 2, "mine": 0.5, "candidates": [0.5, 0.0]},
        {"tag": "y", "queries": 1, "mine": 0.5, "candidates": [0.0, 1.0]},
    ]
    assert found["mean_task_rank"] == {"mine": 1.5}
    assert found["uplift"] == {"mine": 0.5}


def test_without_tags_all_queries_are_one() -> None:
    found = by_tag({"mine": np.array([1.0, 0.0, 0.5])}, TEST, Tags.none(3))
    assert [(row["tag"], row["queries"]) for row in found["tags"]] == [("all", 3)]
    assert found["tags"][0]["candidates"] == pytest.approx([1 / 3, 0.5])


def test_what_is_not_defined_is_null() -> None:
    assert finite_or_none(math.nan) is None
    assert finite_or_none(np.float64(0.5)) == 0.5
