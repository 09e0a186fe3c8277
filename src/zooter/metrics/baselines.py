"""What a trained router has to beat: preferences over candidates that need no training of ours."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from zooter.data.types import Floats, Ints, Rewards
from zooter.metrics.routing import choose

NEIGHBOURS = (1, 3, 5, 10, 20, 40, 80, 160)
# Exact search is quadratic; this many training queries, an even draw of them, are searched at most.
MOST_REFERENCES = 10_000
# The number of neighbours is chosen on this many training queries at most.
MOST_TUNING = 2_000


def rank_by_mean_reward(rewards: Rewards) -> Ints:
    """The m columns, the candidate with the best mean reward first; the earlier column on a tie."""
    return np.argsort(-np.nan_to_num(rewards.column_means(), nan=-np.inf), kind="stable")


def preference_from_order(order: Ints, n: int) -> Floats:
    """(n, m) the same preference for every query: the first column of `order` most."""
    preference = np.empty(len(order))
    preference[order] = -np.arange(len(order))
    return np.tile(preference, (n, 1))


@dataclass(frozen=True)
class NearestNeighbours:
    """kNN regression: a candidate's predicted reward is its mean over the k training queries of largest cosine.

    Attributes:
        k: tuned on the training queries alone, each predicted from the others.
    """

    embeddings: NDArray[np.float32]
    rewards: Rewards
    fallback: Floats
    k: int

    @classmethod
    def fit(cls, embeddings: NDArray[np.float32], rewards: Rewards, seed: int = 0) -> "NearestNeighbours":
        """Choose k by the mean reward of the selections on training queries, with the query itself left out."""
        rng = np.random.default_rng(seed)
        if len(embeddings) > MOST_REFERENCES:
            kept = np.sort(rng.choice(len(embeddings), MOST_REFERENCES, replace=False))
            embeddings, rewards = embeddings[kept], rewards.take(kept)
        fallback = np.nan_to_num(rewards.column_means())
        queries = rng.permutation(len(embeddings))[:MOST_TUNING]
        held, order = rewards.take(queries), rank_by_mean_reward(rewards)
        best, best_reward = 1, -np.inf
        for k, predicted in _predictions(normalize(embeddings), rewards, fallback, embeddings[queries], own=queries):
            chosen = choose(predicted, held.observed, order)
            reward = float(held.values[np.arange(len(held.values)), chosen].mean())
            if reward > best_reward:
                best, best_reward = k, reward
        return cls(normalize(embeddings), rewards, fallback, best)

    def predict(self, embeddings: NDArray[np.float32]) -> Floats:
        """(n, m) predicted rewards."""
        only = _predictions(self.embeddings, self.rewards, self.fallback, embeddings, ks=(self.k,))
        return next(only)[1]


def _predictions(
    references: NDArray[np.float32],
    rewards: Rewards,
    fallback: Floats,
    embeddings: NDArray[np.float32],
    ks: tuple[int, ...] = NEIGHBOURS,
    own: Ints | None = None,
) -> Iterator[tuple[int, Floats]]:
    """(k, predicted rewards) for each k that the references allow; `own` are the references that queries are."""
    most = len(references) - (own is not None)
    usable = [k for k in ks if k <= most] or [max(1, most)]
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
        for column in near[:, :k].T:
            totals += np.nan_to_num(rewards.values[column])
            counts += rewards.observed[column]
        yield k, np.where(counts > 0, totals / np.maximum(counts, 1), fallback)
