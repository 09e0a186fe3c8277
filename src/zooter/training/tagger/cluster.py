"""Tag queries by clusters of their embeddings, where nobody tagged them."""

import logging
import math
from collections.abc import Sequence
from dataclasses import field, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import PositiveInt, SkipValidation
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize

from zooter.data.component import TupleField, component
from zooter.data.mapped import CHUNK_ROWS, chunks
from zooter.data.types import Ints, Tags

log = logging.getLogger(__name__)

QUERIES_PER_NAME = 200  # queries of a cluster, at most, that its name is made from
MAX_COMPONENTS = 64  # principal components that k-means runs on; more cost time and change little


def default_cluster_count(queries: int) -> int:
    """Choose a number of clusters: 30 for 4,800 queries, and more or fewer with the square root of their number.

    Few enough for a precise mean reward of each, enough to tell tasks apart (docs/log.md has the figures; silhouettes
    favour 8, far too few).

    Args:
        queries: how many are clustered.
    """
    return max(2, round(30 * math.sqrt(queries / 4_800)))


@component
class ClusterTagger:
    """Cluster the training queries by k-means on their unit embeddings, in the first principal components.

    A query's one tag is its nearest cluster.

    Attributes:
        clusters: how many; None takes `default_cluster_count` of the training queries.
        words: words in a cluster's name.
        seed: of k-means.
        components: (c, e) principal components, learned by `fit`; None before.
        centres: (k, c) cluster centres, learned by `fit`; None before.
        names: (k,) names of the clusters: a number and the most telling words; learned by `fit`.

    Raises:
        ConfigError: fewer than one cluster.
    """

    clusters: PositiveInt | None = None
    words: int = 3
    seed: int = 0
    components: SkipValidation[NDArray[np.float32] | None] = field(default=None, repr=False)
    centres: SkipValidation[NDArray[np.float32] | None] = field(default=None, repr=False)
    names: TupleField[str] = ()

    def fit(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> "ClusterTagger":
        """Cluster training queries, and return the fitted tagger.

        Args:
            queries: n texts, for the clusters' names.
            embeddings: (n, e).
            recorded: not used.
        """
        n, d = embeddings.shape
        count = min(self.clusters or default_cluster_count(n), n)
        # Uncentred: the nearest centre does not change by moving all points, and serving needs one product less.
        dimensions = min(MAX_COMPONENTS, n - 1, d - 1)
        sample = np.random.default_rng(self.seed).permutation(n)[:CHUNK_ROWS] if n > CHUNK_ROWS else slice(None)
        unit = normalize(embeddings[sample])  # as many as tell the components
        svd = TruncatedSVD(dimensions, random_state=self.seed).fit(unit) if dimensions > 1 else None
        components = svd.components_.astype(np.float32) if svd else np.eye(d, dtype=np.float32)
        model = MiniBatchKMeans(count, random_state=self.seed, n_init=3, batch_size=4_096)
        model.fit(_project(embeddings, components))
        names = _name_clusters(queries, model.labels_, count, self.words, self.seed)
        log.info("%d clusters of %d queries", count, n)
        centres = model.cluster_centers_.astype(np.float32)
        return replace(self, clusters=count, components=components, centres=centres, names=names)

    def tag(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> Tags:
        """Tag any queries with their nearest cluster.

        Args:
            queries: n texts; not used.
            embeddings: (n, e).
            recorded: not used.

        Returns:
            (n, k) with one tag per query.

        Raises:
            RuntimeError: `fit` has not been called.
        """
        if self.centres is None or self.components is None:
            raise RuntimeError("call fit first")
        points = _project(embeddings, self.components)
        # Nearest centre: |x−c|² = |x|² − 2x·c + |c|², and |x|² is the same for all centres.
        nearest = np.argmin((self.centres**2).sum(axis=1) - 2.0 * (points @ self.centres.T), axis=1)
        n = len(points)
        membership = sp.csr_array((np.ones(n), (np.arange(n), nearest)), shape=(n, len(self.names)))
        return Tags(membership, self.names)


def _project(embeddings: NDArray[np.float32], components: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, c) unit embeddings in principal components."""
    return np.concatenate([normalize(embeddings[chunk]) @ components.T for chunk in chunks(len(embeddings))])


def _name_clusters(queries: Sequence[str], labels: Ints, count: int, words: int, seed: int) -> tuple[str, ...]:
    """Name each cluster by its number and its words of highest TF-IDF, where a cluster is one document."""
    rng = np.random.default_rng(seed)
    documents = []
    for cluster in range(count):
        members = np.flatnonzero(labels == cluster)
        documents.append(" ".join(queries[i] for i in rng.permutation(members)[:QUERIES_PER_NAME]))
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
