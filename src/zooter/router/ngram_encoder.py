"""Fit an encoder of n-grams to training queries; without torch, a tokenizer or a pretrained model."""

import logging
from collections.abc import Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, SkipValidation
from sklearn.utils.extmath import randomized_svd

from zooter.data.component import component
from zooter.errors import ConfigError
from zooter.router import manifest
from zooter.router.ngrams import KINDS, NGRAMS, NgramEmbedding, NgramVocabulary, Projection, hash_ngrams
from zooter.router.text_features import MAX_CHARACTERS

log = logging.getLogger(__name__)

FILE = Path(manifest.NGRAMS).name
MIN_QUERIES = 2  # training queries that an n-gram needs
SVD_QUERIES = 10_000  # training queries, at most, that projections are fitted to


@component
class NgramEncoder:
    """Embed queries by their n-grams (`zooter.router.ngrams`), with all that is learned fitted to training queries.

    Attributes:
        topics: singular vectors of the weights of words and characters; fewer where there are fewer training queries.
        shape_topics: of the weights of shapes, likewise.
        words, pairs: of successive words: those of most training queries that are kept, at most.
        characters: 2- to 4-grams that are kept likewise.
        shapes: 1- to 5-grams of the text's shape that are kept likewise.
        max_characters: read of each query; the rest is cut off at the end.
        seed: of the topics.
        embedding: learned by `fit`; None before.
    """

    topics: PositiveInt = 256
    shape_topics: PositiveInt = 128
    words: PositiveInt = 7_000
    pairs: PositiveInt = 5_000
    characters: PositiveInt = 12_000
    shapes: PositiveInt = 4_000
    max_characters: Annotated[int, Field(ge=8, le=MAX_CHARACTERS)] = 1_200
    seed: int = 0
    embedding: SkipValidation[NgramEmbedding | None] = field(default=None, repr=False, compare=False)

    learns = True

    def fit(self, texts: Sequence[str]) -> "NgramEncoder":
        """Choose n-grams, their weights and the projections by training queries, and return the fitted encoder.

        Args:
            texts: n training queries.
        """
        vocabulary = self._fit_vocabulary(texts)
        sample = np.random.default_rng(self.seed).permutation(len(texts))[:SVD_QUERIES]
        weights = _tfidf_matrix(vocabulary, [texts[i] for i in np.sort(sample)])
        middle = vocabulary.ends[2]  # where shapes begin
        topics = Projection.from_matrix(self._fit_topics(weights[:, :middle], self.topics))
        shape_topics = Projection.from_matrix(self._fit_topics(weights[:, middle:], self.shape_topics), middle)
        embedding = NgramEmbedding(vocabulary, (topics, shape_topics))
        log.info("%d n-grams of %d queries, %d dimensions", len(vocabulary.buckets), len(texts), embedding.width)
        return replace(self, embedding=embedding)

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        """Compute embeddings (n, e) of n texts.

        Args:
            texts: n queries.
            cache: not used; embeddings take less time than reading them.

        Raises:
            ConfigError: `fit` has not been called.
        """
        return self._fitted.embed(texts)

    @property
    def width(self) -> int:
        """Return e, the numbers of an embedding."""
        return self._fitted.width

    @property
    def fingerprint(self) -> str:
        """Hash everything that can change an embedding."""
        return self._fitted.fingerprint

    @property
    def name(self) -> str:
        """Name the encoder in a report."""
        return NGRAMS

    @property
    def summary(self) -> str:
        """Describe the encoder and what it has learned, in one line."""
        return f"{NGRAMS} of {self.max_characters} characters ({self.fingerprint[:8]})"

    @property
    def config(self) -> dict[str, Any]:
        """Return what an export's manifest says of the encoder; JSON."""
        return {"model": NGRAMS, "max_characters": self.max_characters}

    def write(self, folder: Path) -> None:
        """Write what `read` reads into a folder."""
        self._fitted.save(folder / FILE)

    @classmethod
    def read(cls, folder: Path) -> "NgramEncoder":
        """Read a fitted encoder."""
        embedding = NgramEmbedding.load(folder / FILE)
        return cls(max_characters=embedding.vocabulary.max_characters, embedding=embedding)

    @property
    def _fitted(self) -> NgramEmbedding:
        if self.embedding is None:
            raise ConfigError(
                expected="an encoder of n-grams that was fitted to training queries",
                found="one that was not",
                do="call its fit(texts) first; a selector's own encoder has to be a pretrained one (encoder=minilm)",
            )
        return self.embedding

    def _fit_vocabulary(self, texts: Sequence[str]) -> NgramVocabulary:
        """Keep the n-grams of most queries, and weigh them by ln((1 + n) / (1 + queries with it)) + 1."""
        counts = np.zeros(KINDS[-1].stop, dtype=np.int64)
        for text in texts:
            counts[np.unique(hash_ngrams(text[: self.max_characters]))] += 1
        limits = (self.words, self.pairs, self.characters, self.shapes)
        kept = [_most_frequent(counts[kind], limit) + kind.start for kind, limit in zip(KINDS, limits, strict=True)]
        buckets = np.concatenate(kept)
        idf = np.log((1.0 + len(texts)) / (1.0 + counts[buckets])) + 1.0
        return NgramVocabulary(buckets, idf.astype(np.float32), self.max_characters)

    def _fit_topics(self, weights: sp.csr_matrix, topics: int) -> NDArray[np.float32]:
        """Compute a basis (f, e) of the first singular vectors of weights (n, f), turned at random.

        A head divides each dimension by its own standard deviation. Of singular vectors themselves this would make the
        last as large as the first; turned, all have about the same, so that what is small stays small.
        """
        if not weights.nnz:  # no n-gram of two queries
            return np.zeros((weights.shape[1], 1), dtype=np.float32)
        rank = max(1, min(topics, min(weights.shape) - 1))
        # Approximate ones do: they are a basis for what is fitted on them.
        svd = randomized_svd(weights, rank, n_iter=1, power_iteration_normalizer="QR", random_state=self.seed)
        rotation = np.linalg.qr(np.random.default_rng(self.seed).normal(size=(rank, rank)))[0]
        return np.asarray(svd[2].T @ rotation, dtype=np.float32)


def _most_frequent(counts: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Return the places of the `limit` largest counts of `MIN_QUERIES` or more, ascending."""
    frequent = np.flatnonzero(counts >= MIN_QUERIES)
    return np.sort(frequent[np.argsort(-counts[frequent], kind="stable")[:limit]])


def _tfidf_matrix(vocabulary: NgramVocabulary, texts: Sequence[str]) -> sp.csr_matrix:
    """Weights (n, f) of n texts."""
    rows = [vocabulary.tfidf(text) for text in texts]
    ends = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns, weights = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return sp.csr_matrix((weights, columns, ends), shape=(len(texts), len(vocabulary.buckets)))
