"""Estimate what an oracle would gain that knows every cell's expected reward: the ceiling of any router."""

import numpy as np
from sklearn.linear_model import RidgeCV

from zooter.data.types import Floats, Rewards, Tags
from zooter.metrics.baselines import first_recorded, rank_by_mean_reward

DRAWS = 20  # of every cell's chance; their mean varies little over thousands of queries
MAX_TAGS = 64
MIN_ENDS = 0.8  # share of rewards that are the least or the largest, below which the model does not fit
PENALTIES = tuple(np.logspace(0, 4, 9))


def reachable_share(rewards: Rewards, tags: Tags, first: Floats, second: Floats, seed: int = 0) -> float | None:
    """Estimate the share of the oracle's lead that remains when it chooses by expected rewards.

    A cell's chance is Beta(s·μ, s·(1−μ)): μ is predicted from the query's tags and the other candidates' rewards, and
    s = (1−ρ)/ρ, where ρ is the share of a reward's residual from μ that a second scoring repeats. With the recorded
    reward r, on a scale from 0 to 1, it becomes Beta(s·μ + r, s·(1−μ) + 1 − r). Chances and scorings drawn from it give
    the lead of the best by chance, and of the best by one scoring.

    Args:
        rewards: (n, m), at least one reward per row.
        tags: (n, t) tags.
        first: (n, m) rewards of each cell's first sample; NaN where there is none.
        second: (n, m) those of its second one.
        seed: of the draws.

    Returns:
        A share in [0, 1]; None if no cell has two samples, the oracle has no lead, or rewards are mostly between the
        least and the largest, so that they are no marks of right and wrong.
    """
    observed, both = rewards.observed, np.isfinite(first) & np.isfinite(second)
    low, high = np.nanmin(rewards.values), np.nanmax(rewards.values)
    ends = np.isin(rewards.values[observed], (low, high)).mean()
    if not both.any() or not high > low or ends < MIN_ENDS:
        return None
    values, first, second = ((table - low) / (high - low) for table in (rewards.values, first, second))
    expected = _expected_without_own(values, tags)
    a, b = (first - expected)[both], (second - expected)[both]
    share = float(np.clip(2.0 * (a * b).mean() / (a**2 + b**2).mean(), 0.01, 0.99))
    weight, order = (1.0 - share) / share, rank_by_mean_reward(rewards)
    single = first_recorded(order, observed)
    rng, lines, marks = np.random.default_rng(seed), np.arange(len(values)), np.nan_to_num(values)
    by_chance = by_scoring = 0.0
    for _ in range(DRAWS):
        chance = rng.beta(weight * expected + marks, weight * (1.0 - expected) + 1.0 - marks)
        scoring = np.where(observed, rng.random(chance.shape) < chance, -np.inf)
        by_chance += float((np.where(observed, chance, -np.inf).max(axis=1) - chance[lines, single]).mean())
        by_scoring += float((scoring.max(axis=1) - chance[lines, single]).mean())
    return min(1.0, by_chance / by_scoring) if by_scoring > 0 else None


def _expected_without_own(values: Floats, tags: Tags) -> Floats:
    """Predict (n, m) each cell's reward, in (0, 1), from its tags and the other candidates' rewards on the query."""
    counts = np.asarray(tags.membership.sum(axis=0)).ravel()
    membership = tags.membership[:, np.argsort(-counts, kind="stable")[:MAX_TAGS]].toarray()
    observed = ~np.isnan(values)
    means = np.nansum(values, axis=0) / np.maximum(observed.sum(axis=0), 1)
    centred = np.where(observed, np.nan_to_num(values) - means, 0.0)
    expected = np.empty(values.shape)
    for j in range(values.shape[1]):
        inputs = np.hstack([np.delete(centred, j, axis=1), membership])
        rows = observed[:, j]
        if not rows.any() or not inputs.shape[1]:
            expected[:, j] = means[j]
        else:
            expected[:, j] = RidgeCV(PENALTIES).fit(inputs[rows], values[rows, j]).predict(inputs)
    return np.clip(expected, 0.01, 0.99)
