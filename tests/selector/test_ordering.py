"""Orders of candidates."""

import numpy as np
import pytest
from support.table import NAN, recorded

from zooter.data.pool import Pool
from zooter.errors import ConfigError, RecordsError
from zooter.selector.baseline.random import RandomSelector
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.ordering import (
    choose_two_tiers,
    mean_rewards,
    price_weight_grid,
    rank_by_mean_reward,
    rank_by_utility,
)


def test_means_are_over_known_rewards() -> None:
    rows = recorded([{"a": [{"reward": 0.2}], "b": [{}]}, {"a": [{"reward": 0.6}]}])
    assert mean_rewards(rows) == {"a": pytest.approx(0.4), "b": pytest.approx(NAN, nan_ok=True)}


def test_the_strongest_comes_first_and_the_unknown_last() -> None:
    assert rank_by_mean_reward({"a": 0.1, "b": NAN, "c": 0.5, "d": 0.5}) == ("c", "d", "a", "b")


def test_two_tiers_are_the_cheapest_and_the_best_of_the_others() -> None:
    pool = Pool.from_names(["a", "b", "c"])
    assert choose_two_tiers(pool, {"a": 2.0, "b": 1.0, "c": NAN}, {"a": 0.1, "b": 0.9, "c": 0.2}) == ("b", "c")


def test_utility_is_reward_less_price_and_what_is_unknown_comes_last() -> None:
    names, expected, prices = ("a", "b", "c"), np.array([0.9, 0.5, NAN]), np.array([4.0, 1.0, 0.0])
    assert rank_by_utility(names, expected, prices, 0.0) == ["a", "b", "c"]
    assert rank_by_utility(names, expected, prices, 0.2) == ["b", "a", "c"]  # .1 and .3
    assert rank_by_utility(names, expected, np.array([1.0, NAN, 1.0]), 0.0) == ["a", "b", "c"]
    with pytest.raises(ConfigError, match=r"none of \['b'\]"):
        rank_by_utility(names, expected, np.array([1.0, NAN, 1.0]), 0.2)
    assert rank_by_utility(names, np.full(3, NAN), prices, 0.0) == ["a", "b", "c"]


def test_price_weights_go_from_the_cheapest_choices_to_none() -> None:
    rows = recorded([{"a": [{"reward": 0.0, "cost": 1.0}], "b": [{"reward": 2.0, "cost": 5.0}]}])
    weights = price_weight_grid(rows)
    assert weights == sorted(weights, reverse=True)
    assert (weights[0], weights[-1]) == (pytest.approx(15.0), 0.0)  # 30 times 2 / 4
    assert price_weight_grid(recorded([{"a": [{"reward": 1.0}]}])) == [0.0]


def test_without_any_reward_nobody_is_the_best() -> None:
    with pytest.raises(RecordsError, match="rewards in the training rows"):
        rank_by_mean_reward({"a": NAN, "b": NAN})
    rows = recorded([{"a": [{}], "b": [{}]}])
    for selector in (SingleSelector(), RandomSelector()):
        with pytest.raises(RecordsError, match="rewards in the training rows"):
            selector.fit(rows, rows)
    assert RandomSelector(("a", "b")).fit(rows, rows).tiers == ("a", "b")
