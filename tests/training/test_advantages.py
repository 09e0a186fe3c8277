"""Weights of candidates' advantages, against least squares, and on tables where only difficulty can be foretold."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import ttest_1samp

from zooter.data.types import Rewards
from zooter.training.advantages import (
    MAX_WEIGHT,
    AdvantageWeights,
    fit_advantage_weights,
    select_advantage_weights,
    weigh_advantages,
)

NAMES = ("x", "y", "z")


def difficulty_table(n: int = 2_000, m: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Rewards]:
    """Predictions, expected rewards and rewards that depend on a query's difficulty and a candidate's ability alone.

    The first candidate is the ablest, so that it is the best choice for every query.
    """
    rng = np.random.default_rng(seed)
    ability = np.linspace(1.0, -1.0, m)
    expected = expit(2.0 * (ability - rng.normal(size=(n, 1))))
    predicted = expected + 0.1 * rng.normal(size=(n, m))
    rewards = (rng.random((n, m)) < expected).astype(float)
    return predicted, expected, Rewards(rewards, tuple(f"candidate {j}" for j in range(m)))


def expert_table(n: int = 2_000, lead: float = 0.3, seed: int = 0) -> tuple[np.ndarray, Rewards]:
    """Predictions where x is best on average, y by `lead` better than x on a third of the queries, and z never."""
    rng = np.random.default_rng(seed)
    third = np.arange(n) % 3 == 0
    expected = np.stack([np.full(n, 0.5), np.where(third, 0.5 + lead, 0.3), np.full(n, 0.2)], axis=1)
    rewards = expected + 0.3 * rng.normal(size=(n, 3))
    return expected + 0.05 * rng.normal(size=(n, 3)), Rewards(rewards, NAMES)


def test_a_weight_is_the_slope_of_true_on_predicted_advantages() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(500, 3))
    rewards = 0.6 * predicted + 0.5 * rng.normal(size=(500, 3)) + np.array([0.0, 1.0, 0.5])
    weights = fit_advantage_weights(predicted + rewards.mean(axis=0), Rewards(rewards, NAMES))
    assert weights.best_single == 1
    centred = rewards - rewards.mean(axis=0)
    for j in (0, 2):
        x, y = predicted[:, j] - predicted[:, 1], centred[:, j] - centred[:, 1]
        slope = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
        draws = np.random.default_rng(1).integers(500, size=(2_000, 500))
        again = [float(x[rows] @ y[rows] / (x[rows] @ x[rows])) for rows in draws]
        assert weights.slopes[j] == pytest.approx(slope)
        assert weights.standard_errors[j] == pytest.approx(np.std(again), rel=0.1)
        assert weights.values[j] == weights.slopes[j]


@pytest.mark.parametrize("seed", range(5))
def test_where_only_difficulty_is_foretold_nearly_nothing_is_lost(seed: int) -> None:
    predicted, expected, rewards = difficulty_table(seed=seed)
    scores = weigh_advantages(predicted, rewards.column_means(), fit_advantage_weights(predicted, rewards))
    lost, lost_unweighted = (
        (expected[:, 0] - expected[np.arange(len(expected)), values.argmax(axis=1)]).mean()
        for values in (scores, predicted)
    )
    assert lost_unweighted > 0.02
    assert lost < 0.002


def test_a_slope_below_two_standard_errors_gets_no_weight() -> None:
    rng = np.random.default_rng(0)
    predicted, noise = 0.1 * rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
    weights = fit_advantage_weights(predicted, Rewards(0.5 * predicted + noise, NAMES))
    assert (weights.slopes <= 2.0 * weights.standard_errors).all()
    np.testing.assert_array_equal(weights.values, 0.0)


def test_a_candidate_with_a_single_reward_gets_no_weight() -> None:
    rewards = np.array([[1.0, 0.0, 2.0], [1.0, 0.5, np.nan], [0.5, 0.0, np.nan], [1.0, 0.0, np.nan]])
    predicted = np.random.default_rng(0).normal(size=(4, 3))
    table = Rewards(np.vstack([rewards, [[9.0, 0.0, np.nan]] * 9]), NAMES)
    assert fit_advantage_weights(np.vstack([predicted, np.zeros((9, 3))]), table).values[2] == 0.0


def test_who_is_better_on_which_queries_is_kept() -> None:
    predicted, rewards = expert_table()
    scores = weigh_advantages(predicted, rewards.column_means(), fit_advantage_weights(predicted, rewards))
    assert (scores.argmax(axis=1) == np.where(np.arange(2_000) % 3 == 0, 1, 0)).mean() > 0.99


def near_equal_table(n: int = 600, m: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Rewards]:
    """Candidates of one mean, each a little better on some queries: few slopes are clear, but all of them pay."""
    rng = np.random.default_rng(seed)
    expected = 0.5 + 0.04 * rng.normal(size=(n, m))
    rewards = expected + 0.3 * rng.normal(size=(n, m))
    return expected + 0.04 * rng.normal(size=(n, m)), expected, Rewards(rewards, tuple("abcdefgh"[:m]))


def test_between_near_equals_advantages_are_taken_as_they_are_where_choices_by_them_earn_more() -> None:
    gains = []
    for seed in range(10):
        predicted, expected, rewards = near_equal_table(seed=seed)
        by_slopes = fit_advantage_weights(predicted, rewards)
        weights, evidence = select_advantage_weights(predicted, rewards)
        is_unweighted = bool((weights.values == 1.0).all())
        assert evidence.threshold == (0.0 if is_unweighted else 2.0)
        assert is_unweighted or (weights.values == by_slopes.values).all()
        earned = [
            expected[np.arange(600), weigh_advantages(predicted, rewards.column_means(), w).argmax(axis=1)].mean()
            for w in (by_slopes, weights)
        ]
        gains.append(earned[1] - earned[0])
    assert np.count_nonzero(gains) >= 3
    assert np.mean(gains) > 0.0


@pytest.mark.parametrize("seed", range(5))
def test_where_only_difficulty_is_foretold_advantages_are_not_taken_as_they_are(seed: int) -> None:
    predicted, _, rewards = difficulty_table(seed=seed)
    weights, evidence = select_advantage_weights(predicted, rewards)
    assert evidence.threshold == 2.0
    np.testing.assert_array_equal(weights.values, fit_advantage_weights(predicted, rewards).values)


def test_the_evidence_is_the_paired_gain_of_choices_and_its_standard_error() -> None:
    predicted, rewards = expert_table()
    _, evidence = select_advantage_weights(predicted, rewards)
    gains = np.where(np.arange(2_000) % 3 == 0, rewards.values[:, 1] - rewards.values[:, 0], 0.0)
    assert evidence.gain == pytest.approx(gains.mean(), abs=1e-3)
    assert evidence.gain / evidence.standard_error == pytest.approx(ttest_1samp(gains, 0.0).statistic, rel=0.02)
    assert evidence.share_rerouted == pytest.approx(1 / 3, abs=0.01)
    weights = [evidence.candidates[name]["weight"] for name in NAMES]
    np.testing.assert_array_equal(weights, fit_advantage_weights(predicted, rewards).values)


@pytest.mark.parametrize("n", [60, 600])
def test_noise_reroutes_few_queries(n: int) -> None:
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rewards = Rewards((rng.random((n, 5)) < np.linspace(0.7, 0.5, 5)).astype(float), tuple("abcde"))
        predicted = rewards.column_means() + 0.05 * rng.normal(size=(n, 5))
        shares.append(select_advantage_weights(predicted, rewards)[1].share_rerouted)
    assert np.mean(shares) < 0.05


def test_a_candidate_of_weight_0_is_never_chosen() -> None:
    weights = AdvantageWeights(0, np.array([1.0, 0.0, 0.0]), np.zeros(3), np.zeros(3))
    predicted = np.random.default_rng(0).normal(size=(100, 3))
    overall = np.array([0.3, 0.2, 0.1])
    assert (weigh_advantages(predicted, overall, weights).argmax(axis=1) == 0).all()


def test_weights_of_1_change_nothing() -> None:
    weights = AdvantageWeights(1, np.ones(3), np.ones(3), np.zeros(3))
    predicted = np.random.default_rng(0).normal(size=(10, 3))
    np.testing.assert_allclose(weigh_advantages(predicted, np.array([0.3, 0.2, 0.1]), weights), predicted)


def test_tensors_are_weighted_as_arrays_are() -> None:
    weights = AdvantageWeights(2, np.array([0.5, 0.0, 1.0]), np.zeros(3), np.zeros(3))
    centred = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 0.5]])
    expected = [[3.0 + 0.5 * (1.0 - 3.0), 3.0, 3.0], [0.5 + 0.5 * (0.0 - 0.5), 0.5, 0.5]]
    np.testing.assert_allclose(weights.apply(centred), expected)
    np.testing.assert_allclose(weights.apply(torch.from_numpy(centred)).numpy(), expected)


def test_the_best_candidate_that_was_observed_stands_for_a_best_single_model_without_a_reward() -> None:
    predicted, rewards = expert_table()
    missing = rewards.values.copy()
    missing[::5, 0] = math.nan  # y is the best of the others there, and z is compared with it
    weights = fit_advantage_weights(predicted, Rewards(missing, NAMES))
    observed_x = np.ones(2_000, dtype=bool)
    observed_x[::5] = False
    means = np.nanmean(missing, axis=0)
    x = (predicted - means)[:, 1] - (predicted - means)[:, 0]
    y = (missing - means)[:, 1] - (missing - means)[:, 0]
    slope = float(x[observed_x] @ y[observed_x] / (x[observed_x] @ x[observed_x]))
    assert weights.slopes[1] == pytest.approx(slope)


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_weights_stay_in_their_range_with_missing_rewards_and_few_queries(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 4))
    values[rng.random((n, 4)) < 0.4] = math.nan
    values[:, 3] = 0.0  # some candidate has a reward on every query
    rewards, predicted = Rewards(values, tuple("abcd")), rng.normal(size=(n, 4))
    weights = fit_advantage_weights(predicted, rewards)
    assert ((weights.values >= 0.0) & (weights.values <= MAX_WEIGHT)).all()
    _, evidence = select_advantage_weights(predicted, rewards)
    assert 0.0 <= evidence.share_rerouted <= 1.0
    assert np.isfinite(evidence.gain)
