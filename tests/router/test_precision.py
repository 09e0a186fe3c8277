"""int8 serves unless its choices are worth less, whatever the number of choices that it changes."""

import numpy as np
import pytest

from zooter.data.types import Rewards
from zooter.router.precision import default_precision, reward_difference


def probabilities(choices: list[int]) -> np.ndarray:
    return np.eye(2)[choices] * 0.8 + 0.1


def test_the_difference_is_what_other_choices_earn_more() -> None:
    values = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, np.nan], [np.nan, np.nan], [0.5, 0.2]])
    rewards = Rewards(values, ("a", "b"))
    expected, actual = probabilities([0, 0, 0, 0, 0]), probabilities([0, 1, 1, 1, 1])
    measured = reward_difference(expected, actual, rewards)
    # 0, 1, 0 (b has no reward) and −0.3; the fourth query has none
    assert measured["reward_difference"] == pytest.approx(0.7 / 4)
    assert measured["rewarded_queries"] == 4
    low, high = measured["reward_difference_ci"]
    assert low < 0.7 / 4 < high


@pytest.mark.parametrize(("worth", "default"), [(0.0, "int8"), (1.0, "int8"), (-1.0, "float32")])
def test_int8_serves_unless_its_choices_are_worse(worth: float, default: str) -> None:
    rewards = Rewards(np.tile([0.0, worth], (200, 1)), ("a", "b"))
    measured = reward_difference(probabilities([0] * 200), probabilities([0, 1] * 100), rewards)
    assert measured["reward_difference"] == pytest.approx(worth / 2)
    assert default_precision({"changed_choices": 0.5, **measured}) == default


def test_changed_choices_decide_without_rewards() -> None:
    assert default_precision({"changed_choices": 0.01}) == "int8"
    assert default_precision({"changed_choices": 0.02}) == "float32"
    assert default_precision(None) == "float32"
