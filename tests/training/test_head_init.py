"""The initial head against scikit-learn and against tables worked out by hand."""

import copy
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from zooter.data.types import Rewards, Tags
from zooter.training import closed_form, head_init
from zooter.training.advantages import AdvantageWeights, weigh_advantages


def groups(n: int = 300, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Features of three overlapping groups and the group of each row."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 3
    return torch.from_numpy((2.0 * np.eye(3)[group] + rng.normal(size=(n, 3))).astype(np.float32)), group


def test_the_tag_classifier_is_multinomial_logistic_regression() -> None:
    z, group = groups()
    linear = torch.nn.Linear(3, 3)
    closed_form.fit_classifier(linear, z, Tags.from_rows([[str(g)] for g in group]))
    expected = LogisticRegression(C=1.0 / (closed_form.CLASSIFIER_PENALTY * len(z)), tol=1e-8, max_iter=1_000).fit(
        z.numpy(), group
    )
    predicted = torch.softmax(linear(z), dim=-1).detach().numpy()
    np.testing.assert_allclose(predicted, expected.predict_proba(z.numpy()), atol=2e-3)


def test_a_query_of_two_tags_counts_half_for_each() -> None:
    z = torch.zeros(4, 1)  # no difference between queries: the classifier gives the shares of the tags
    linear = torch.nn.Linear(1, 2)
    closed_form.fit_classifier(linear, z, Tags.from_rows([["a"], ["a"], ["a", "b"], []]))
    share = torch.softmax(linear(z), dim=-1)[0].detach().numpy()
    np.testing.assert_allclose(share, [2.5 / 3, 0.5 / 3], atol=1e-3)


def head_of(rewards: list[list[float]], tags: list[list[str]], features: torch.Tensor) -> head_init.Head:
    table = Rewards(np.array(rewards), ("x", "y"))
    return head_init.init_head(features, table, [Tags.from_rows(tags)], temperature=0.5, width=4, dropout=0.0)


def test_a_head_starts_from_the_mean_rewards_of_probable_tags() -> None:
    features = torch.tensor([[9.0], [-9.0]] * 20)
    head = head_of([[1.0, 0.0], [0.0, 1.0]] * 20, [["a"], ["b"]] * 20, features)
    expected = head.expected_rewards(features[:2]).detach().numpy()
    np.testing.assert_allclose(expected, [[1.0, 0.0], [0.0, 1.0]], atol=0.05)
    np.testing.assert_allclose(head(features[:2]).detach().numpy(), expected / 0.5, atol=1e-6)


def test_without_tags_a_head_starts_from_the_mean_rewards_of_all() -> None:
    table = Rewards(np.array([[1.0, 0.0], [0.5, np.nan]]), ("x", "y"))
    head = head_init.init_head(torch.zeros(2, 3), table, [Tags.empty(2)], temperature=1.0, width=4, dropout=0.0)
    np.testing.assert_allclose(head(torch.ones(1, 3)).detach().numpy(), [[0.75, 0.0]])


def test_tags_that_hardly_any_query_carries_are_not_learned() -> None:
    tags = Tags.from_rows(
        [["often"]] * 10
        + [["often", "rare"]] * (closed_form.MIN_TAG_QUERIES - 1)
        + [["enough"]] * closed_form.MIN_TAG_QUERIES
    )
    assert closed_form.frequent_tags(tags).names == ("enough", "often")


def test_a_correction_does_not_move_all_candidates_together() -> None:
    features, group = groups(60)
    head = head_of(np.random.default_rng(0).random((60, 2)).tolist(), [[str(g)] for g in group], features)
    torch.nn.init.normal_(head.correction[-1].weight)
    z = head.standardise(features)
    moved = head.expected_rewards(features) - head.tag_rewards(z)
    assert moved.abs().max() > 0.01
    np.testing.assert_allclose(moved.sum(dim=1).detach().numpy(), 0.0, atol=1e-5)


def test_an_outlying_feature_has_no_more_effect_than_a_large_one() -> None:
    features, group = groups(60)
    head = head_of([[0.0, 1.0]] * 60, [[str(g)] for g in group], features)
    far, farther = torch.full((1, 3), 1e3), torch.full((1, 3), 1e9)
    torch.testing.assert_close(head(far), head(farther))


@pytest.mark.parametrize("n", [12, 500])
def test_every_query_is_in_one_cluster_of_each_clustering_and_no_two_are_the_same(n: int) -> None:
    points = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    tag_sets = head_init.cluster_tags([f"query {i}" for i in range(n)], points, count=3, seed=0)
    assert len(tag_sets) == 3
    for tags in tag_sets:
        assert (tags.membership.sum(axis=1) == 1).all()
        assert len(tags.names) >= 2
    together = [(tags.membership @ tags.membership.T).toarray() for tags in tag_sets]  # n × n: in the same cluster
    assert not any(np.array_equal(one, other) for one, other in combinations(together, 2))


@pytest.mark.parametrize(("n", "d"), [(30, 4), (5, 12)])
def test_the_ridge_is_the_closed_form_also_of_fewer_queries_than_features(n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(n, d)), rng.normal(size=(n, 2))
    for penalty, weights in closed_form.fit_ridge(torch.from_numpy(z), y).items():
        expected = np.linalg.solve(z.T @ z / n + penalty * d * np.eye(d), z.T @ y / n)
        np.testing.assert_allclose(weights.T, expected, atol=1e-6)


def test_a_candidate_with_half_its_rewards_keeps_its_map_when_noise_is_small() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 3))
    y = z @ np.array([[1.0, 1.0], [0.5, 0.5], [0.0, 0.0]])
    y[::2, 1] = np.nan
    weights = closed_form.fit_ridge(torch.from_numpy(z), y)[closed_form.RIDGE_PENALTIES[0]]
    np.testing.assert_allclose(weights[1], weights[0], atol=0.05)


def test_a_head_that_falls_back_predicts_the_mean_rewards_for_every_query() -> None:
    features, group = groups(60)
    rewards = np.random.default_rng(0).random((60, 2))
    head = head_of(rewards.tolist(), [[str(g)] for g in group], features)
    head_init.apply_weights(
        head,
        head_init.fit_residual_ridges(head, features, Rewards(rewards, ("x", "y"))),
        [Tags.from_rows([[str(g)] for g in group])],
        head_init.BlendWeights(),
    )
    torch.nn.init.normal_(head.correction[-1].weight)
    head_init.fall_back_to_best_single(head)
    expected = np.tile(rewards.mean(axis=0), (60, 1))
    np.testing.assert_allclose(head.expected_rewards(features).detach().numpy(), expected, atol=1e-6)


def test_weights_of_one_and_zero_leave_a_head_as_it_was() -> None:
    features, group = groups(60)
    tags = [[str(g)] for g in group]
    rewards = np.random.default_rng(0).random((60, 2))
    head = head_of(rewards.tolist(), tags, features)
    before = head.expected_rewards(features)
    head_init.apply_weights(
        head,
        head_init.fit_residual_ridges(head, features, Rewards(rewards, ("x", "y"))),
        [Tags.from_rows(tags)],
        head_init.BlendWeights(1.0, 0.0),
    )
    torch.testing.assert_close(head.expected_rewards(features), before)


def test_weighed_tag_sets_predict_the_weighted_sum_of_what_each_predicts_alone() -> None:
    features, group = groups(60)
    rewards = Rewards(np.random.default_rng(0).random((60, 2)), ("x", "y"))
    sets = [Tags.from_rows([[str(g)] for g in group]), Tags.from_rows([[str(i % 2)] for i in range(60)])]
    head = head_init.init_head(features, rewards, sets, temperature=0.5, width=4, dropout=0.0)
    z = head.standardise(features)
    first, second = (
        classify(z).softmax(dim=-1) @ means for classify, means in zip(head.classifiers, head.rewards, strict=True)
    )
    expected = 0.9 * first + 0.1 * second
    head_init.weigh_tag_sets(head, np.array([0.9, 0.1]))
    torch.testing.assert_close(head.tag_rewards(z), expected)


def test_every_tag_takes_its_own_share_of_the_residual() -> None:
    features = torch.tensor([[9.0, 1.0], [-9.0, 1.0], [9.0, -1.0], [-9.0, -1.0]] * 20)
    rewards = Rewards(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]] * 20), ("x", "y"))
    tags = [["a"], ["b"]] * 40
    head = head_of(rewards.values.tolist(), tags, features)
    ridges = head_init.fit_residual_ridges(head, features, rewards)
    only_a = head_init.BlendWeights(1.0, 1.0, closed_form.RIDGE_PENALTIES[0], residual_by_tag={"a": 1.0, "b": 0.0})
    head_init.apply_weights(head, ridges, [Tags.from_rows(tags)], only_a)
    predicted = head.expected_rewards(features[:4]).detach().numpy()
    np.testing.assert_allclose(predicted, [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.5, 0.5]], atol=0.06)


@pytest.mark.parametrize("residual", [0, 1, 0.5])
def test_a_whole_number_is_a_weight_too(residual: float) -> None:
    features, group = groups(60)
    tags = Tags.from_rows([[str(g)] for g in group])
    table = Rewards(np.random.default_rng(0).random((60, 2)), ("x", "y"))
    head = head_init.init_head(features, table, [tags], temperature=0.5, width=4, dropout=0.0)
    head_init.apply_weights(
        head, head_init.fit_residual_ridges(head, features, table), [tags], head_init.BlendWeights(residual=residual)
    )
    assert head.shares.tolist() == [residual] * 3
    assert torch.isfinite(head(features)).all()


def test_a_head_with_weighted_advantages_predicts_the_weighted_blend() -> None:
    features, group = groups(60)
    tags = [[str(g)] for g in group]
    rewards = Rewards(np.random.default_rng(0).random((60, 2)), ("x", "y"))
    head = head_of(rewards.values.tolist(), tags, features)
    ridges = head_init.fit_residual_ridges(head, features, rewards)
    plain, weighted = copy.deepcopy(head), copy.deepcopy(head)
    weights = head_init.BlendWeights(0.9, 0.7, closed_form.RIDGE_PENALTIES[0])
    advantages = AdvantageWeights(1, np.array([0.4, 0.0]), np.zeros(2), np.zeros(2))
    head_init.apply_weights(plain, ridges, [Tags.from_rows(tags)], weights)
    head_init.apply_weights(weighted, ridges, [Tags.from_rows(tags)], replace(weights, advantages=advantages))
    expected = plain.expected_rewards(features).detach().double().numpy()
    overall = plain.overall.double().numpy()
    np.testing.assert_allclose(
        weighted.expected_rewards(features).detach().numpy(), weigh_advantages(expected, overall, advantages), atol=1e-5
    )
    assert not np.allclose(weighted.expected_rewards(features).detach().numpy(), expected, atol=1e-3)


def test_gradient_steps_never_change_who_is_better_of_the_best_single_model_and_a_candidate_without_weight() -> None:
    torch.manual_seed(0)
    features, group = groups(60)
    tags = Tags.from_rows([[str(g)] for g in group])
    table = Rewards(np.random.default_rng(0).random((60, 3)), ("x", "y", "z"))
    head = head_init.init_head(features, table, [tags], temperature=0.5, width=4, dropout=0.0)
    before = head.expected_rewards(features).detach()
    head_init.hold_correction(head, AdvantageWeights(1, np.array([0.7, 0.0, 0.0]), np.zeros(3), np.zeros(3)))
    optimizer = torch.optim.AdamW(head.correction.parameters(), lr=0.1, weight_decay=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        (head(features) - torch.from_numpy(table.values).float() * 9.0).square().mean().backward()
        optimizer.step()
    x, y, z = (head.expected_rewards(features).detach() - before).T
    torch.testing.assert_close(y, z)
    assert ((x - y).abs() > 0.1).any()


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [6]), (3, [6, 9, 12])])
def test_clusterings_go_from_the_default_number_of_clusters_to_twice_as_many(count: int, sizes: list[int]) -> None:
    n = 192  # 30 · √(192 / 4,800) = 6
    embeddings = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    clusterings = head_init.cluster_tags([f"query {i}" for i in range(n)], embeddings, count, seed=0)
    assert [len(tags.names) for tags in clusterings] == sizes
    assert all((tags.membership.sum(axis=1) == 1.0).all() for tags in clusterings)
