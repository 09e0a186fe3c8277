"""Compare candidates that answered different queries, by the additive model r_ij = q_i + c_j in least squares."""

import numpy as np
from numpy.typing import NDArray

from zooter.data.types import Floats, Rewards

MAX_SWEEPS, SWEEP_TOLERANCE = 200, 1e-9  # of the alternating fit


def adjusted_means(rewards: Rewards) -> Floats:
    """Compute each candidate's least-squares mean: what its mean reward would be on all queries.

    Plain means favour candidates that answered easy queries only; without missing rewards both are the same.

    Args:
        rewards: (n, m).

    Returns:
        (m,) means, NaN without any reward; candidates that share no query, directly or through others, are compared
        by their plain means.
    """
    rows = rewards.observed.any(axis=1)
    observed = rewards.observed[rows]
    if observed.all() or not observed.any():
        return rewards.column_means()
    query_effects, candidate_effects = _fit_additive(rewards.values[rows], observed)
    return np.where(observed.any(axis=0), query_effects.mean() + candidate_effects, np.nan)


def without_query_effects(rewards: Rewards) -> Rewards:
    """Subtract from each query's rewards by how much it is easier than the mean query; a complete table stays.

    What candidates that answered different queries have earned is comparable then: a mean over any queries is high
    because of the candidate, not because they were easy. Differences between candidates on one query stay as they are.

    Args:
        rewards: (n, m).
    """
    if rewards.observed.all():
        return rewards
    query_effects, _ = _fit_additive(rewards.values, rewards.observed)
    return Rewards(rewards.values - (query_effects - query_effects.mean())[:, None], rewards.candidates)


def _fit_additive(values: Floats, observed: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Fit r_ij = q_i + c_j by alternating means: (n,) effects of queries and (m,) of candidates."""
    filled = np.where(observed, values, 0.0)
    per_query, per_candidate = (np.maximum(observed.sum(axis=axis), 1) for axis in (1, 0))
    effects = np.zeros(values.shape[1])
    for _ in range(MAX_SWEEPS):
        query_effects = (filled - observed * effects).sum(axis=1) / per_query
        updated = (filled - observed * query_effects[:, None]).sum(axis=0) / per_candidate
        change, effects = float(np.abs(updated - effects).max()), updated
        if change < SWEEP_TOLERANCE:
            break
    return query_effects, effects
