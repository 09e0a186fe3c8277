"""Choose the precision that an export serves with: int8 unless its choices are worth less than float32's."""

from typing import Any

import numpy as np

from zooter.data.types import Floats, Rewards
from zooter.metrics.baselines import rank_by_mean_reward
from zooter.metrics.routing import best_candidates, paired_bootstrap

MAX_CHANGED_CHOICES = 0.01  # share of choices that int8 may change where there are no rewards to value them by


def reward_difference(expected: Floats, actual: Floats, rewards: Rewards) -> dict[str, Any]:
    """Measure what other probabilities' choices earn more, on recorded rewards.

    Args:
        expected: (n, m) probabilities, float32's.
        actual: (n, m) probabilities, int8's.
        rewards: (n, m) of the same queries.

    Returns:
        The mean difference in reward, its paired 95 % interval, and the number of queries with a reward.
    """
    rows = np.flatnonzero(rewards.observed.any(axis=1))
    recorded, order = rewards.take(rows), rank_by_mean_reward(rewards)
    earned = [
        recorded.values[np.arange(len(rows)), best_candidates(probs[rows], recorded.observed, order)]
        for probs in (expected, actual)
    ]
    difference = earned[1] - earned[0]
    low, high = paired_bootstrap(difference[None], lambda mean: np.asarray(mean)[None])
    return {
        "reward_difference": float(difference.mean()),
        "reward_difference_ci": [float(low[0]), float(high[0])],
        "rewarded_queries": len(rows),
    }


def default_precision(int8: dict[str, Any] | None) -> str:
    """Choose "int8" or "float32" for serving.

    Most choices that int8 changes are near ties, which cost nothing: what counts is their reward. int8 is worse where
    the whole interval of its difference is below 0.

    Args:
        int8: its differences from torch, with those of `reward_difference` if there are rewards; None if there is no
            int8 form.
    """
    if int8 is None:
        return "float32"
    if "reward_difference_ci" in int8:
        return "float32" if int8["reward_difference_ci"][1] < 0.0 else "int8"
    return "int8" if int8["changed_choices"] <= MAX_CHANGED_CHOICES else "float32"
