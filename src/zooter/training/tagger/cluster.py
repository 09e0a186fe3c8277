"""Clusters of query embeddings as tags, for queries that nobody tagged."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize

from zooter.data.types import Ints, Tags
from zooter.errors import ConfigError

log = logging.getLogger(__name__)

NAMED_BY = 200  # queries of each cluster that its name is made from
DIMENSIONS = 64  # principal components that clusters are found in; more cost time and change little


@dataclass(frozen=True)
class ClusterTagger:
    """k-means over the training queries' unit embeddings, in their first principal components.

    A query's one tag is its nearest cluster.

    Attributes:
        clusters: how many; None takes 30 for 4,800 queries, and more or fewer with the square root of their number:
            few enough for a cluster's mean reward to be sure, enough to tell tasks apart (docs/log.md has the figures;
            silhouettes favour 8, far too few).
        words: words in a cluster's name.
        seed: of k-means.
    """

    clusters: int | None = None
    words: int = 3
    seed: int = 0
    components: NDArray[np.float32] | None = field(default=None, repr=False)
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
        n, d = points.shape
        count = min(self.clusters or max(2, round(30 * math.sqrt(n / 4_800))), n)
        # Uncentred: the nearest centre does not change by moving all points, and serving needs one product less.
        size = min(DIMENSIONS, n - 1, d - 1)
        svd = TruncatedSVD(size, random_state=self.seed).fit(points) if size > 1 else None
        components = svd.components_.astype(np.float32) if svd else np.eye(d, dtype=np.float32)
        model = MiniBatchKMeans(count, random_state=self.seed, n_init=3, batch_size=4_096).fit(points @ components.T)
        names = _names(queries, model.labels_, count, self.words, self.seed)
        log.info("%d clusters of %d queries", count, n)
        centres = model.cluster_centers_.astype(np.float32)
        return replace(self, clusters=count, components=components, centres=centres, names=names)

    def tag(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> Tags:
        if self.centres is None or self.components is None:
            raise RuntimeError("call fit first")
        points = normalize(embeddings) @ self.components.T
        # Nearest centre: |x−c|² = |x|² − 2x·c + |c|², and |x|² is the same for all centres.
        nearest = np.argmin((self.centres**2).sum(axis=1) - 2.0 * (points @ self.centres.T), axis=1)
        n = len(points)
        member = sp.csr_array((np.ones(n), (np.arange(n), nearest)), shape=(n, len(self.names)))
        return Tags(member, self.names)


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
