"""What is fitted before training, on a table whose candidates answered different queries."""

import numpy as np
import torch

from zooter.data.types import Rewards, Tags
from zooter.training.labels import TagSmoothing
from zooter.training.prepare import fit_initial_head, resolve_weights
from zooter.training.recipe import FrozenRecipe


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
