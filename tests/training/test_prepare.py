"""What is fitted before training: tag sets, and a head on a table whose candidates answered different queries."""

import numpy as np
import pytest
import torch

from zooter.data.reward_arrays import table_from_arrays
from zooter.data.split import Part
from zooter.data.types import Rewards, Tags
from zooter.training.labels import TagSmoothing
from zooter.training.prepare import InitialFit, fit_initial, fit_initial_head, resolve_weights
from zooter.training.recipe import FrozenRecipe
from zooter.training.tagger.column import ColumnTagger


def test_a_candidate_that_answered_easy_queries_alone_is_not_chosen_on_hard_ones() -> None:
    rng = np.random.default_rng(0)
    n, hard = 300, np.arange(300) % 2
    chances = np.stack([np.where(hard, 0.4, 0.9), np.where(hard, 0.3, 0.8), np.where(hard, 0.1, 0.7)], axis=1)
    values = (rng.random((n, 3)) < chances).astype(float)
    values[hard == 1, 2] = np.nan  # its mean, 0.7, is above the others' means over all queries
    rewards = Rewards(values, ("complete", "second", "easy alone"))
    features = torch.from_numpy(np.c_[hard, rng.normal(size=(n, 3))]).float()
    tags = Tags.from_rows([["hard" if row else "easy"] for row in hard])
    assert np.nanmean(values, axis=0).argmax() == 2
    initial_fit = fit_initial_head(tags, features, rewards, [tags], FrozenRecipe(), seed=0)
    head, _, _ = resolve_weights(initial_fit, TagSmoothing(), seed=0)
    choices = head.expected_rewards(features).argmax(dim=1).numpy()
    assert (choices == 0).all()


@pytest.mark.parametrize("clusterings", [0, 1, 3])
def test_each_clustering_is_a_tag_set_with_a_share_beside_the_tags(clusterings: int) -> None:
    rng = np.random.default_rng(0)
    group = np.arange(120) % 2
    rewards = np.stack([group, 1 - group], axis=1) + rng.normal(size=(120, 2)) / 4
    table = table_from_arrays([f"query {i}" for i in range(120)], rewards, ["a", "b"], [[str(g)] for g in group])
    points = (4.0 * np.eye(3)[group] + rng.normal(size=(120, 3))).astype(np.float32)
    part = Part(np.arange(100), np.arange(100, 110), np.arange(110, 120))
    recipe = FrozenRecipe(clusterings=clusterings)
    fit = fit_initial(table, points, torch.from_numpy(points), part, ColumnTagger(), recipe, seed=0)
    assert isinstance(fit, InitialFit)
    assert fit.tag_sets[0].names == ("0", "1")
    assert len(fit.tag_sets) == len(fit.head.classifiers) == len(fit.out_of_fold.set_shares) == 1 + clusterings
    assert fit.out_of_fold.set_shares.sum() == pytest.approx(1.0)
