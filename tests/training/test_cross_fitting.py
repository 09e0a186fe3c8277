"""Cross-fitted weights and temperatures, against least squares and against tables worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from zooter.data.types import Rewards, Tags
from zooter.training import closed_form, cross_fitting
from zooter.training.head_init import BlendWeights
from zooter.training.labels import TagSmoothing

NAMES = ("x", "y", "z")


def grouped_data(n: int = 240, signal: float = 1.0, seed: int = 0) -> tuple[torch.Tensor, Rewards, Tags]:
    """Features of three groups; each group has its own best candidate, `signal` better than the others."""
    rng = np.random.default_rng(seed)
    group = rng.integers(3, size=n)
    z = torch.from_numpy((2.0 * np.eye(3)[group] + rng.normal(size=(n, 3))).astype(np.float32))
    rewards = signal * np.eye(3)[group] + 0.5 * rng.normal(size=(n, 3))
    return z, Rewards(rewards, NAMES), Tags.from_rows([[str(g)] for g in group])


def out_of_fold(seed: int = 0, n: int = 60) -> tuple[cross_fitting.OutOfFold, Rewards]:
    """Predictions where the truth is 0.8 of the tags', 0.4 of one residual, and noise; and the rewards."""
    rng = np.random.default_rng(seed)
    from_tags, residual = rng.normal(size=(n, 3)), rng.normal(size=(n, 3))
    rewards = Rewards(0.8 * from_tags + 0.4 * residual + 0.1 * rng.normal(size=(n, 3)), NAMES)
    noise = rng.normal(size=(n, 3))
    return cross_fitting.OutOfFold(
        np.zeros(3), from_tags, {closed_form.RIDGE_PENALTIES[0]: noise, closed_form.RIDGE_PENALTIES[1]: residual}
    ), rewards


def test_weights_are_least_squares_on_differences_less_a_standard_error() -> None:
    predictions, rewards = out_of_fold()
    centre = np.eye(3) - 1 / 3
    residual = predictions.residual[closed_form.RIDGE_PENALTIES[1]]
    columns = np.stack([predictions.from_tags @ centre, residual @ centre], axis=2)
    expected = np.linalg.lstsq(columns.reshape(-1, 2), (rewards.values @ centre).ravel(), rcond=None)[0]
    draws = np.random.default_rng(0).integers(60, size=(2_000, 60))  # of whole queries
    again = [
        np.linalg.lstsq(columns[rows].reshape(-1, 2), (rewards.values @ centre)[rows].ravel(), rcond=None)[0]
        for rows in draws
    ]
    expected = expected - np.std(again, axis=0)
    weights = cross_fitting.fit_blend_weights(predictions, rewards)
    assert weights.penalty == closed_form.RIDGE_PENALTIES[1]
    assert (weights.tags, weights.residual) == pytest.approx(tuple(expected), abs=2e-3)


def test_a_reward_that_all_candidates_share_changes_no_weight() -> None:
    predictions, rewards = out_of_fold()
    lifted = Rewards(rewards.values + np.arange(60)[:, None], NAMES)
    weights = cross_fitting.fit_blend_weights(predictions, rewards)
    lifted_weights = cross_fitting.fit_blend_weights(predictions, lifted)
    assert (lifted_weights.tags, lifted_weights.residual) == pytest.approx((weights.tags, weights.residual))


def test_a_given_beta_takes_the_place_of_the_residuals_weight() -> None:
    predictions, rewards = out_of_fold()
    assert cross_fitting.fit_blend_weights(predictions, rewards, beta=0.9).residual == 0.9


def test_predictions_of_the_wrong_sign_get_no_weight() -> None:
    predictions, rewards = out_of_fold()
    weights = cross_fitting.fit_blend_weights(predictions, Rewards(-rewards.values, NAMES))
    assert (weights.tags, weights.residual) == (0.0, 0.0)


@given(st.integers(0, 10_000))
def test_weights_stay_in_their_range(seed: int) -> None:
    predictions, _ = out_of_fold(seed, n=5)
    rewards = np.random.default_rng(seed).normal(size=(5, 3))
    rewards[0, 1] = math.nan
    weights = cross_fitting.fit_blend_weights(predictions, Rewards(rewards, NAMES))
    assert 0.0 <= weights.tags <= cross_fitting.MAX_TAG_WEIGHT
    assert 0.0 <= weights.residual <= cross_fitting.MAX_RESIDUAL_WEIGHT
    assert weights.temperature > 0.0


def test_scores_are_blended_with_the_weights_of_advantages() -> None:
    predictions, rewards = out_of_fold()
    weights = cross_fitting.fit_blend_weights(predictions, rewards)
    assert weights.advantages is not None
    blended = weights.tags * predictions.from_tags + weights.residual * predictions.residual[weights.penalty]
    single = blended[:, [weights.advantages.best_single]]
    expected = single + weights.advantages.values * (blended - single)
    expected[:, weights.advantages.best_single] = single[:, 0]
    np.testing.assert_allclose(predictions.blend(weights), expected)


def test_a_signal_is_routed_and_noise_is_not() -> None:
    z, rewards, tags = grouped_data()
    assert cross_fitting.fit_blend_weights(cross_fitting.cross_fit(z, rewards, [tags], 0), rewards).routes
    for seed in range(4):
        z, rewards, tags = grouped_data(signal=0.0, seed=seed)
        assert not cross_fitting.fit_blend_weights(cross_fitting.cross_fit(z, rewards, [tags], 0), rewards).routes


def test_tag_sets_share_as_the_rewards_were_made_from_them() -> None:
    rng = np.random.default_rng(0)
    by_set = rng.normal(size=(3, 2_000, 3))
    rewards = Rewards(0.6 * by_set[0] + 0.2 * by_set[1] - 0.4 * by_set[2] + rng.normal(size=(2_000, 1)), NAMES)
    shares = cross_fitting.fit_set_shares(by_set, rewards)
    assert shares == pytest.approx([0.75, 0.25, 0.0], abs=0.02)  # of what is left without the third, which misleads


def test_tag_sets_that_predict_nothing_share_equally() -> None:
    rewards = Rewards(np.random.default_rng(0).normal(size=(20, 3)), NAMES)
    assert cross_fitting.fit_set_shares(np.zeros((2, 20, 3)), rewards).tolist() == [0.5, 0.5]


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_shares_are_not_negative_and_sum_to_one(seed: int, sets: int) -> None:
    rng = np.random.default_rng(seed)
    rewards = np.where(rng.random((6, 3)) < 0.3, math.nan, rng.normal(size=(6, 3)))
    shares = cross_fitting.fit_set_shares(rng.normal(size=(sets, 6, 3)), Rewards(rewards, NAMES))
    assert (shares >= 0.0).all()
    assert shares.sum() == pytest.approx(1.0)


def test_tags_at_random_take_little_of_the_share_of_true_ones() -> None:
    z, rewards, tags = grouped_data()
    random = Tags.from_rows([[str(i)] for i in np.random.default_rng(1).integers(3, size=240)])
    alone, beside = (cross_fitting.cross_fit(z, rewards, sets, 0) for sets in ([tags], [tags, random]))
    assert alone.set_shares.tolist() == [1.0]
    assert beside.set_shares[0] > 0.9
    np.testing.assert_allclose(beside.from_tags, alone.from_tags, atol=0.1)


def test_no_query_is_predicted_from_its_own_rewards() -> None:
    z, rewards, tags = grouped_data(60)
    before = cross_fitting.cross_fit(z, rewards, [tags], 0)
    changed = rewards.values.copy()
    changed[7] += 100.0
    after = cross_fitting.cross_fit(z, Rewards(changed, NAMES), [tags], 0)
    np.testing.assert_allclose(after.from_tags[7], before.from_tags[7])
    np.testing.assert_allclose(
        after.residual[closed_form.RIDGE_PENALTIES[0]][7], before.residual[closed_form.RIDGE_PENALTIES[0]][7]
    )
    assert not np.allclose(after.from_tags, before.from_tags)


def test_the_calibrated_temperature_gives_the_probabilities_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 3))
    best = (softmax(scores / 0.4, axis=1).cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert cross_fitting.calibrate_temperature(scores, Rewards(np.eye(3)[best], NAMES)) == pytest.approx(0.4, rel=0.05)


def test_every_tag_gets_its_own_slope_when_there_is_much_of_each() -> None:
    rng = np.random.default_rng(0)
    residual = rng.normal(size=(4_000, 3))
    slope = np.where(np.arange(4_000) % 2, 0.9, 0.1)[:, None]
    rewards = Rewards(slope * residual + 0.1 * rng.normal(size=(4_000, 3)), NAMES)
    predictions = cross_fitting.OutOfFold(np.zeros(3), np.zeros((4_000, 3)), {1.0: residual})
    tags = Tags.from_rows([["odd"] if i % 2 else ["even"] for i in range(4_000)])
    weights_by_tag = cross_fitting.fit_tag_weights(predictions, rewards, tags, BlendWeights(1.0, 0.5, 1.0))
    assert weights_by_tag == {"odd": pytest.approx(0.9, abs=0.02), "even": pytest.approx(0.1, abs=0.02)}


def test_tags_that_differ_by_chance_alone_share_one_slope() -> None:
    rng = np.random.default_rng(1)
    residual = rng.normal(size=(600, 3))
    rewards = Rewards(0.5 * residual + rng.normal(size=(600, 3)), NAMES)
    predictions = cross_fitting.OutOfFold(np.zeros(3), np.zeros((600, 3)), {1.0: residual})
    weights_by_tag = cross_fitting.fit_tag_weights(
        predictions, rewards, Tags.from_rows([[str(i % 20)] for i in range(600)]), BlendWeights(1.0, 0.5, 1.0)
    )
    assert np.ptp(list(weights_by_tag.values())) < 0.15


def test_the_largest_temperature_wins_a_tie() -> None:
    z, rewards, tags = grouped_data(signal=0.0)  # no temperature earns anything
    label = TagSmoothing(beta=0.3, temperature="auto")
    assert cross_fitting.select_temperature(z, rewards, [tags], label, 0) == cross_fitting.TEMPERATURES[0]
