"""Fit baselines that a trained router has to beat: the candidates' overall order, and nearest neighbours."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from zooter.data.mapped import chunks
from zooter.data.types import Floats, Ints, Rewards
from zooter.metrics.adjusted_means import adjusted_means
from zooter.metrics.routing import best_candidates

NEIGHBOUR_COUNTS = (1, 3, 5, 10, 20, 40, 80, 160)
# Exact search takes quadratic time, so larger training sets are subsampled to this many queries.
MAX_REFERENCES = 10_000
# Number of training queries on which k is tuned.
MAX_TUNING_QUERIES = 2_000


def rank_by_mean_reward(rewards: Rewards) -> Ints:
    """Sort the candidates by their mean reward, adjusted for missing ones (`adjusted_means`).

    Args:
        rewards: (n, m) rewards.

    Returns:
        (m,) columns, the best candidate first and those without rewards last; on a tie, the earlier column first.
    """
    return np.argsort(-np.nan_to_num(adjusted_means(rewards).round(12), nan=-np.inf), kind="stable")


def preference_from_order(order: Ints, n: int) -> Floats:
    """Convert an order of the candidates to the same preference for every query.

    Args:
        order: (m,) columns, the most preferred one first.
        n: number of queries.

    Returns:
        (n, m) preferences; larger is preferred.
    """
    preference = np.empty(len(order))
    preference[order] = -np.arange(len(order))
    return np.tile(preference, (n, 1))


def first_recorded(order: Ints, observed: np.ndarray) -> Ints:
    """Choose the first candidate of an order that has a recorded reward, for each query.

    Args:
        order: (m,) columns, the first choice first.
        observed: (n, m) booleans, at least one True per row.

    Returns:
        (n,) columns.
    """
    return np.asarray(order[observed[:, order].argmax(axis=1)])


@dataclass(frozen=True)
class NearestNeighbours:
    """kNN regression: predict a candidate's reward by its mean over the k training queries of largest cosine.

    Attributes:
        embeddings: (n, d) embeddings of the training queries, normalised to unit length.
        rewards: (n, m) their rewards.
        fallback: (m,) prediction for a candidate without a reward among the k neighbours: its overall mean.
        k: number of neighbours.
    """

    embeddings: NDArray[np.float32]
    rewards: Rewards
    fallback: Floats
    k: int

    @classmethod
    def fit(cls, embeddings: NDArray[np.float32], rewards: Rewards, seed: int = 0) -> "NearestNeighbours":
        """Store the training queries and tune k by leave-one-out selection on them.

        The tuned k has the largest mean reward of the selected candidates, each query being predicted from the others.

        Args:
            embeddings: (n, d) embeddings of the training queries.
            rewards: (n, m) their rewards.
            seed: of the random subsets, if there are more than MAX_REFERENCES or MAX_TUNING_QUERIES queries.
        """
        rng = np.random.default_rng(seed)
        if len(embeddings) > MAX_REFERENCES:
            subset = np.sort(rng.choice(len(embeddings), MAX_REFERENCES, replace=False))
            embeddings, rewards = embeddings[subset], rewards.take(subset)
        fallback = np.nan_to_num(rewards.column_means())
        queries = rng.permutation(len(embeddings))[:MAX_TUNING_QUERIES]
        tuning_rewards, order = rewards.take(queries), rank_by_mean_reward(rewards)
        best_k, best_reward = 1, -np.inf
        for k, predicted in _predictions(normalize(embeddings), rewards, fallback, embeddings[queries], own=queries):
            columns = best_candidates(predicted, tuning_rewards.observed, order)
            reward = float(tuning_rewards.values[np.arange(len(columns)), columns].mean())
            if reward > best_reward:
                best_k, best_reward = k, reward
        return cls(normalize(embeddings), rewards, fallback, best_k)

    def predict(self, embeddings: NDArray[np.float32]) -> Floats:
        """Predict each candidate's reward.

        Args:
            embeddings: (q, d) embeddings of the queries.

        Returns:
            (q, m) predicted rewards.
        """
        predicted = [
            next(_predictions(self.embeddings, self.rewards, self.fallback, embeddings[chunk], ks=(self.k,)))[1]
            for chunk in chunks(len(embeddings))
        ]
        return np.concatenate(predicted)


def _predictions(
    references: NDArray[np.float32],
    rewards: Rewards,
    fallback: Floats,
    embeddings: NDArray[np.float32],
    ks: tuple[int, ...] = NEIGHBOUR_COUNTS,
    own: Ints | None = None,
) -> Iterator[tuple[int, Floats]]:
    """Yield (k, predicted rewards) for each k that the number of references allows.

    Args:
        references: (n, d) embeddings of unit length.
        rewards: (n, m) their rewards.
        fallback: (m,) prediction for a candidate without a reward among the neighbours.
        embeddings: (q, d) embeddings of the queries.
        ks: the numbers of neighbours to try.
        own: (q,) the reference that each query itself is, to be left out; None if queries are not among them.
    """
    max_k = len(references) - (own is not None)
    usable = [k for k in ks if k <= max_k] or [max(1, max_k)]
    # On the unit sphere the Euclidean order, which the search uses, is the cosine order.
    search = NearestNeighbors(n_neighbors=min(max(usable) + (own is not None), len(references)), algorithm="brute")
    near = search.fit(references).kneighbors(normalize(embeddings), return_distance=False)
    if own is not None:
        # A query is not always its own first neighbour: others may have the same embedding.
        leave_out = near == own[:, None]
        leave_out[:, -1] |= ~leave_out.any(axis=1)
        near = near[~leave_out].reshape(len(near), near.shape[1] - 1)
    for k in usable:
        totals = np.zeros((len(embeddings), rewards.values.shape[1]))
        counts = np.zeros_like(totals)
        for neighbours in near[:, :k].T:
            totals += np.nan_to_num(rewards.values[neighbours])
            counts += rewards.observed[neighbours]
        yield k, np.where(counts > 0, totals / np.maximum(counts, 1), fallback)
