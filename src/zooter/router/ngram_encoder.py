"""Fit an encoder of n-grams to training queries: no pretrained model, no tokenizer, no torch."""

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
from zooter.router.ngrams import HASH_BITS, NGRAMS, NgramEmbedding, NgramVocabulary, hash_ngrams
from zooter.router.text_features import MAX_CHARACTERS

log = logging.getLogger(__name__)

FILE = Path(manifest.NGRAMS).name
MIN_QUERIES = 2  # training queries that an n-gram needs
SVD_QUERIES = 10_000  # training queries, at most, that the projection is fitted to


@component
class NgramEncoder:
    """Embed queries by latent semantic analysis of their n-grams (`zooter.router.ngrams`), fitted to training queries.

    Attributes:
        dimensions: of an embedding; fewer where there are fewer training queries.
        words: 1- and 2-grams of words that are kept at most, those of most training queries.
        characters: 2- to 4-grams of characters that are kept at most.
        max_characters: read of each query; the rest is cut off at the end.
        seed: of the projection.
        embedding: learned by `fit`; None before.
    """

    dimensions: PositiveInt = 128
    words: PositiveInt = 16_000
    characters: PositiveInt = 22_000
    max_characters: Annotated[int, Field(ge=8, le=MAX_CHARACTERS)] = 4_000
    seed: int = 0
    embedding: SkipValidation[NgramEmbedding | None] = field(default=None, repr=False, compare=False)

    learns = True

    def fit(self, texts: Sequence[str]) -> "NgramEncoder":
        """Choose n-grams, their weights and the projection by training queries, and return the fitted encoder.

        Args:
            texts: n training queries.
        """
        vocabulary = self._fit_vocabulary(texts)
        sample = np.random.default_rng(self.seed).permutation(len(texts))[:SVD_QUERIES]
        weights = _tfidf_matrix(vocabulary, [texts[i] for i in np.sort(sample)])
        rank = max(1, min(self.dimensions, min(weights.shape) - 1))
        # Nearly singular vectors do: they are a basis for what is fitted on them.
        components = randomized_svd(
            weights, rank, n_iter=1, power_iteration_normalizer="QR", random_state=self.seed
        )[2].T  # fmt: skip
        log.info("%d n-grams of %d queries, in %d dimensions", len(vocabulary.buckets), len(texts), rank)
        return replace(self, embedding=NgramEmbedding.from_components(vocabulary, components.astype(np.float32)))

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
    def fingerprint(self) -> str:
        """Hash everything that can change an embedding."""
        return self._fitted.fingerprint

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
        return cls(embedding.components.shape[1], max_characters=embedding.vocabulary.max_characters,
                   embedding=embedding)  # fmt: skip

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
        counts = np.zeros(2 ** (HASH_BITS + 1), dtype=np.int64)
        for text in texts:
            counts[np.unique(hash_ngrams(text[: self.max_characters]))] += 1
        words, characters = np.split(counts, 2)
        buckets = np.concatenate(
            [_most_frequent(words, self.words), _most_frequent(characters, self.characters) + 2**HASH_BITS]
        )
        idf = np.log((1.0 + len(texts)) / (1.0 + counts[buckets])) + 1.0
        return NgramVocabulary(buckets, idf.astype(np.float32), self.max_characters)


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
