"""Drift: the statistic against its definition, the test's error rates, and the report."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter.router import drift


def sample(n: int, seed: int, shift: float = 0.0, d: int = 6) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, d)) + shift).astype(np.float32)


def test_the_discrepancy_is_its_definition() -> None:
    x, y = sample(4, 0), sample(3, 1)
    points = [p / math.dist(p, [0.0] * 6) for p in np.concatenate([x, y]).astype(float)]
    squared = [[math.dist(p, q) ** 2 for q in points] for p in points]
    width = float(np.median([squared[i][j] for i in range(7) for j in range(i + 1, 7)]))

    def mean(rows: list[int], columns: list[int]) -> float:
        return float(np.mean([math.exp(-squared[i][j] / width) for i in rows for j in columns if i != j]))

    first, second = [0, 1, 2, 3], [4, 5, 6]
    expected = mean(first, first) + mean(second, second) - 2 * mean(first, second)
    assert drift.mmd_test(x, y)[0] == pytest.approx(expected, rel=1e-6)


def test_false_alarms_are_as_rare_as_the_significance_level() -> None:
    p = [drift.mmd_test(sample(60, k), sample(30, 1_000 + k), k, permutations=199)[1] for k in range(60)]
    assert np.mean(np.array(p) <= drift.SIGNIFICANCE_LEVEL) <= 0.05
    assert 0.3 < np.mean(p) < 0.7


def test_a_shift_is_detected() -> None:
    assert drift.mmd_test(sample(60, 0), sample(30, 1, shift=1.0), permutations=199)[1] == pytest.approx(1 / 200)


@given(st.integers(0, 1_000), st.integers(2, 8), st.integers(2, 8))
def test_a_p_value_is_a_positive_share_of_the_permutations(seed: int, n: int, k: int) -> None:
    p = drift.mmd_test(sample(n, seed), sample(k, seed + 1), seed, permutations=19)[1]
    assert 0.05 - 1e-9 <= p <= 1.0
    assert (20 * p) == pytest.approx(round(20 * p))


def report(p_value: float) -> drift.DriftReport:
    reference: dict[str, Any] = {
        "choices": {"a": 0.75, "b": 0.25}, "probable_tags": [0.5, 0.5], "entropy_bits": {"p50": 0.9}
    }  # fmt: skip
    probs = np.array([[0.5, 0.5], [0.0, 1.0], [0.0, 1.0], [0.25, 0.75]])
    return drift._report(0.1, p_value, reference, ("a", "b"), probs, np.array([0.9, 0.1]))


def test_shares_of_choices_and_tags_are_compared_with_the_reference() -> None:
    drifting = report(0.5)
    assert drifting.choices == {"a": (0.75, 0.25), "b": (0.25, 0.75)}
    assert (drifting.choices_moved, drifting.tags_moved) == (pytest.approx(0.5), pytest.approx(0.4))
    assert drifting.entropy_bits[0] == 0.9
    assert drifting.entropy_bits[1] == pytest.approx((0.0 + 0.8112781244591328) / 2)


def test_only_a_small_p_value_is_drift_and_asks_for_rewards() -> None:
    assert not report(0.5).drifted
    assert report(0.5).recommendation.startswith("nothing to do")
    assert report(drift.SIGNIFICANCE_LEVEL).drifted
    assert "record rewards" in report(drift.SIGNIFICANCE_LEVEL).recommendation
