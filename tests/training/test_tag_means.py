"""Means per tag, their shrinkage and the scale of rewards, against loops and tables worked out by hand."""

import math

import numpy as np
import pytest

from zooter.data.types import Rewards, Tags
from zooter.training.tag_means import align_tags, estimate_shrinkage, reward_spread, tag_reward_means

NAN = math.nan


def rewards(*rows: list[float]) -> Rewards:
    return Rewards(np.array(rows, dtype=float), tuple("abcdefgh"[: len(rows[0])]))


@pytest.mark.parametrize("table", [rewards([1.0, 1.0], [2.0, 2.0]), rewards([1.0, NAN], [NAN, 2.0])])
def test_rewards_that_show_no_difference_have_a_spread_of_one(table: Rewards) -> None:
    assert reward_spread(table) == 1.0


def test_a_candidate_never_observed_in_a_tag_stands_at_the_mean_of_all() -> None:
    table, tags = rewards([1.0, NAN], [3.0, 6.0]), Tags.from_rows([["t"], []])
    assert tag_reward_means(table, tags, 0.0).tolist() == [[1.0, 6.0]]
    assert tag_reward_means(table, tags, 1.0).tolist() == [[(1.0 + 2.0) / 2, 6.0]]


def test_aligning_moves_columns_by_name() -> None:
    tags = Tags.from_rows([["a", "c"], ["b"]])
    assert align_tags(tags, ("c", "new", "a")).toarray().tolist() == [[1, 0, 1], [0, 0, 0]]
    assert align_tags(Tags.empty(2), ("a",)).toarray().tolist() == [[0], [0]]
    assert align_tags(tags, ()).shape == (2, 0)


def shrinkage_by_loops(values: list[list[float]], tag_of: list[int]) -> float:
    """Within over between variance, one tag per query and nothing missing, candidate by candidate."""
    within, between = [], []
    for column in zip(*values, strict=True):
        groups = [[v for v, t in zip(column, tag_of, strict=True) if t == tag] for tag in sorted(set(tag_of))]
        shares = [len(group) / len(column) for group in groups]
        means = [sum(group) / len(group) for group in groups]
        overall = sum(column) / len(column)
        squares = sum(v * v for v in column) / len(column)
        sigma = squares - sum(p * m * m for p, m in zip(shares, means, strict=True))
        within.append(sigma)
        between.append(
            sum(
                p * ((m - overall) ** 2 - sigma / len(group)) for p, m, group in zip(shares, means, groups, strict=True)
            )
        )
    return (sum(within) / len(within)) / (sum(between) / len(between))


def test_the_estimated_shrinkage_is_the_variance_inside_tags_over_that_between_them() -> None:
    values = [[1.0, 0.0], [0.9, 0.2], [0.1, 0.8], [0.0, 1.0], [0.2, 0.7]]
    tag_of = [0, 0, 1, 1, 1]
    tags = Tags.from_rows([[str(t)] for t in tag_of])
    expected = shrinkage_by_loops(values, tag_of)
    assert expected > 0
    assert estimate_shrinkage(np.array(values), tags.membership) == pytest.approx(expected)


def test_tags_that_differ_by_chance_only_are_pulled_to_the_mean_of_all() -> None:
    rng = np.random.default_rng(0)
    table = Rewards(rng.random((400, 2)), ("a", "b"))
    tags = Tags.from_rows([[str(i % 40)] for i in range(400)])
    shrunk, plain = tag_reward_means(table, tags), tag_reward_means(table, tags, shrinkage=0.0)
    assert shrunk.std(axis=0).max() < 0.35 * plain.std(axis=0).min()


def test_tags_that_differ_for_sure_keep_their_means() -> None:
    table = Rewards(np.array([[1.0, 0.0]] * 50 + [[0.0, 1.0]] * 50), ("a", "b"))
    tags = Tags.from_rows([["x"]] * 50 + [["y"]] * 50)
    np.testing.assert_allclose(tag_reward_means(table, tags), [[1.0, 0.0], [0.0, 1.0]])
