"""Candidates that answered different queries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zooter.data.types import Floats, Rewards
from zooter.metrics import adjusted_means, baselines

NAN = float("nan")


def test_adjusted_means_are_those_of_the_additive_model() -> None:
    easy_only = Rewards(np.array([[1, 1, NAN], [1, 0.5, NAN], [0.5, NAN, 0.25], [0.25, NAN, 0.25]]), ("a", "b", "c"))
    # By the normal equations: reward = query + candidate, solved with a dummy for each.
    rows, columns = np.nonzero(easy_only.observed)
    design = np.zeros((len(rows), 7))
    design[np.arange(len(rows)), rows] = design[np.arange(len(rows)), 4 + columns] = 1.0
    solution = np.linalg.lstsq(design, easy_only.values[rows, columns], rcond=None)[0]
    expected = solution[:4].mean() + solution[4:]
    np.testing.assert_allclose(adjusted_means.adjusted_means(easy_only), expected, atol=1e-6)
    assert baselines.rank_by_mean_reward(easy_only).tolist() == [0, 2, 1]
    assert np.nanmean(easy_only.values, axis=0).argmax() == 1  # the plain mean prefers who answered easy ones


@given(arrays(np.float64, (6, 3), elements=st.sampled_from([0.0, 0.5, 1.0])))
def test_without_missing_rewards_adjusted_means_are_means(values: Floats) -> None:
    table = Rewards(values, ("a", "b", "c"))
    np.testing.assert_allclose(adjusted_means.adjusted_means(table), values.mean(axis=0), atol=1e-8)
    order = np.argsort(-values.mean(axis=0).round(12), kind="stable")
    assert baselines.rank_by_mean_reward(table).tolist() == order.tolist()


def test_a_candidate_without_rewards_comes_last() -> None:
    table = Rewards(np.array([[NAN, -1.0, -2.0]]), ("a", "b", "c"))
    assert baselines.rank_by_mean_reward(table).tolist() == [1, 2, 0]
    assert np.isnan(adjusted_means.adjusted_means(table.take(np.arange(0)))).all()


def test_what_is_left_without_query_effects_is_what_candidates_differ_by() -> None:
    values = np.array([[1.0, 0.75, NAN], [0.5, NAN, 0.25], [0.25, 0.0, NAN]])  # query + candidate, without a rest
    left = adjusted_means.without_query_effects(Rewards(values, ("a", "b", "c"))).values
    np.testing.assert_allclose(left - left[:, [0]], [[0, -0.25, NAN], [0, NAN, -0.25], [0, -0.25, NAN]], atol=1e-8)
    np.testing.assert_allclose(left[:, 0], np.full(3, values[:, 0].mean()), atol=1e-8)  # all queries are alike


@given(arrays(np.float64, (7, 4), elements=st.sampled_from([0.0, 0.5, 1.0, NAN])))
def test_means_without_query_effects_are_adjusted_means(values: Floats) -> None:
    table = Rewards(values[~np.isnan(values).all(axis=1)], ("a", "b", "c", "d"))
    means = adjusted_means.without_query_effects(table).column_means()
    np.testing.assert_allclose(means, adjusted_means.adjusted_means(table), atol=1e-5)


def test_a_complete_table_stays_as_it_is() -> None:
    table = Rewards(np.array([[1.0, 0.0], [0.5, 0.0]]), ("a", "b"))
    assert adjusted_means.without_query_effects(table) is table
