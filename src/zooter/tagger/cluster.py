"""Clusters of query embeddings as tags, for queries that nobody tagged."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import normalize

from zooter.errors import ConfigError
from zooter.types import Ints, Tags

log = logging.getLogger(__name__)

SAMPLE = 2_000  # queries on which the number of clusters is judged
NAMED_BY = 200  # queries of each cluster that its name is made from


@dataclass(frozen=True)
class ClusterTagger:
    """k-means over unit embeddings of the training queries; a query's one tag is its nearest cluster.

    Attributes:
        clusters: how many; None takes the number, among 8, 16, 32, … with at least `least` queries each on average,
            whose clusters stand apart best (silhouette).
        least: queries per cluster on average, at least.
        words: words in a cluster's name.
        seed: of k-means.
    """

    clusters: int | None = None
    least: int = 40
    words: int = 3
    seed: int = 0
    centres: NDArray[np.float32] | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.clusters is not None and self.clusters < 1:
            raise ConfigError(
                expected="tagger.clusters of 1 or more, or null",
                found=str(self.clusters),
                do="set tagger.clusters=null",
            )

    def fit(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> "ClusterTagger":
        points = normalize(embeddings)
        count = min(self.clusters or self._count(points), len(points))
        model = self._kmeans(count).fit(points)
        names = _names(queries, model.labels_, count, self.words, self.seed)
        log.info("%d clusters of %d queries stand for tags", count, len(queries))
        centres = model.cluster_centers_.astype(np.float32)
        return ClusterTagger(count, self.least, self.words, self.seed, centres, names)

    def tag(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> Tags:
        if self.centres is None:
            raise RuntimeError("call fit first")
        points = normalize(embeddings)
        # Nearest centre: |x−c|² = |x|² − 2x·c + |c|², and |x|² is the same for all centres.
        nearest = np.argmin((self.centres**2).sum(axis=1) - 2.0 * (points @ self.centres.T), axis=1)
        n = len(points)
        member = sp.csr_array((np.ones(n), (np.arange(n), nearest)), shape=(n, len(self.names)))
        return Tags(member, self.names)

    def _count(self, points: NDArray[np.float32]) -> int:
        most = len(points) // self.least
        counts = [2**power for power in range(3, 11) if 2**power <= most]
        if not counts:
            return max(1, most)
        rng = np.random.default_rng(self.seed)
        sample = points[rng.choice(len(points), min(SAMPLE, len(points)), replace=False)]
        scores = [
            silhouette_score(sample, labels) if 1 < len(set(labels)) < len(sample) else -1.0
            for labels in (self._kmeans(count).fit(points).predict(sample) for count in counts)
        ]
        return counts[int(np.argmax(scores))]

    def _kmeans(self, count: int) -> MiniBatchKMeans:
        return MiniBatchKMeans(count, random_state=self.seed, n_init=3, batch_size=4_096)


def _names(queries: Sequence[str], labels: Ints, count: int, words: int, seed: int) -> tuple[str, ...]:
    """A name per cluster: its most telling words (TF-IDF with a cluster as one document) after its number."""
    rng = np.random.default_rng(seed)
    documents = []
    for cluster in range(count):
        members = np.flatnonzero(labels == cluster)
        documents.append(" ".join(queries[i] for i in rng.permutation(members)[:NAMED_BY]))
    counter = CountVectorizer(stop_words="english", token_pattern=r"(?u)\b[^\W\d_]{3,}\b", max_features=20_000)
    try:
        counts = counter.fit_transform(documents)
    except ValueError:  # no cluster has a word: numbers, symbols or another script
        return tuple(f"{cluster:02d}" for cluster in range(count))
    vocabulary = counter.get_feature_names_out()
    weights = TfidfTransformer(sublinear_tf=True).fit_transform(counts).toarray()
    return tuple(
        " ".join([f"{cluster:02d}", *(vocabulary[j] for j in np.argsort(-row, kind="stable")[:words] if row[j] > 0)])
        for cluster, row in enumerate(weights)
    )
