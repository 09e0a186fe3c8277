"""Baselines of routing."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from zooter.data.types import Floats, Rewards
from zooter.metrics import baselines
from zooter.metrics.baselines import NearestNeighbours

NAN = math.nan


def test_the_candidate_with_the_best_mean_comes_first_and_one_without_rewards_last() -> None:
    rewards = Rewards(np.array([[0.0, 2.0, NAN, 1.0], [1.0, NAN, NAN, 3.0]]), tuple("abcd"))
    assert baselines.rank_by_mean_reward(rewards).tolist() == [
        1,
        3,
        0,
        2,
    ]  # means 1/2, 2, –, 2: the earlier wins the tie


def test_an_order_gives_the_same_preference_for_every_query() -> None:
    preference = baselines.preference_from_order(np.array([2, 0, 1]), 2)
    assert preference.shape == (2, 3)
    assert np.argsort(-preference, axis=1).tolist() == [[2, 0, 1], [2, 0, 1]]


def by_hand(references: Floats, rewards: Floats, queries: Floats, k: int) -> Floats:
    """Mean reward of the k references of largest cosine; a candidate without one there has its overall mean."""
    predicted = np.empty((len(queries), rewards.shape[1]))
    for i, near in enumerate(np.argsort(cdist(queries, references, "cosine"), axis=1)[:, :k]):
        for j in range(rewards.shape[1]):
            observed = [rewards[row, j] for row in near if not math.isnan(rewards[row, j])]
            predicted[i, j] = np.mean(observed) if observed else np.nanmean(rewards[:, j])
    return predicted


@pytest.mark.parametrize("k", [1, 3, 20])
def test_a_prediction_is_the_mean_reward_of_the_nearest_neighbours(k: int) -> None:
    rng = np.random.default_rng(k)
    references, queries = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=(7, 4)).astype(np.float32)
    values = rng.normal(size=(30, 3))
    values[rng.random((30, 3)) < 0.4] = NAN
    fitted = NearestNeighbours.fit(references, Rewards(values, tuple("abc")))
    model = NearestNeighbours(fitted.embeddings, fitted.rewards, fitted.fallback, k)
    np.testing.assert_allclose(model.predict(queries), by_hand(references, values, queries, k))


def test_the_number_of_neighbours_is_tuned_with_the_query_itself_left_out() -> None:
    # Two distant groups; in each, one candidate is best, up to noise that only many neighbours average out.
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], 100)
    embeddings = (np.eye(2)[group] + 0.01 * rng.normal(size=(200, 2))).astype(np.float32)
    right = np.where(rng.random(200) < 0.65, group, 1 - group)
    values = np.eye(2)[right]
    fitted = NearestNeighbours.fit(embeddings, Rewards(values, ("a", "b")))
    rewards = {}
    for k in (1, 3, 5, 10, 20, 40, 80, 160):
        others = [np.delete(np.arange(200), i) for i in range(200)]
        predicted = np.concatenate(
            [by_hand(embeddings[o], values[o], embeddings[[i]], k) for i, o in enumerate(others)]
        )
        strongest = values.mean(axis=0).argmax()
        choice = np.where(predicted[:, 0] == predicted[:, 1], strongest, predicted.argmax(axis=1))
        rewards[k] = values[np.arange(200), choice].mean()
    assert fitted.k == max(rewards, key=rewards.__getitem__)
    assert rewards[fitted.k] > rewards[1]


def test_a_query_never_predicts_itself_even_where_others_have_the_same_embedding() -> None:
    embeddings = np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (12, 1))
    rewards = Rewards(np.eye(12), tuple("abcdefghijkl"))  # each query has a different best candidate
    unit, own = embeddings, np.arange(12)
    for k, predicted in baselines._predictions(unit, rewards, np.zeros(12), embeddings, own=own):
        assert k <= 10
        assert np.diag(predicted).tolist() == [0.0] * 12
        np.testing.assert_allclose(predicted.sum(axis=1), 1.0)  # and its k neighbours share the rest


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_training_queries_are_enough(n: int) -> None:
    rewards = Rewards(np.arange(2.0 * n).reshape(n, 2), ("a", "b"))
    fitted = NearestNeighbours.fit(np.eye(4, dtype=np.float32)[:n], rewards)
    assert fitted.predict(np.eye(4, dtype=np.float32)[:1]).shape == (1, 2)
    assert fitted.k <= max(1, n - 1)


def test_more_training_queries_than_the_maximum_are_subsampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_REFERENCES", 50)
    rng = np.random.default_rng(0)
    embeddings, values = rng.normal(size=(200, 3)).astype(np.float32), rng.normal(size=(200, 2))
    fitted = NearestNeighbours.fit(embeddings, Rewards(values, ("a", "b")))
    assert fitted.embeddings.shape == (50, 3)
    subset = [int(np.flatnonzero((values == row).all(axis=1))[0]) for row in fitted.rewards.values]
    unit = embeddings[subset] / np.linalg.norm(embeddings[subset], axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.embeddings, unit, rtol=1e-5)  # rewards stay with their embeddings
    assert min(subset) < 40
    assert max(subset) > 160


def test_fitting_twice_gives_the_same_predictions() -> None:
    rng = np.random.default_rng(0)
    embeddings, rewards = rng.normal(size=(60, 3)).astype(np.float32), Rewards(rng.normal(size=(60, 2)), ("a", "b"))
    first, second = (NearestNeighbours.fit(embeddings, rewards) for _ in range(2))
    assert first.k == second.k
    np.testing.assert_array_equal(first.predict(embeddings), second.predict(embeddings))
