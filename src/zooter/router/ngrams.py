"""Embed texts by their n-grams: TF-IDF of hashed words and characters, projected on fewer dimensions. NumPy alone.

N-grams are numbered by hashes (Weinberger et al. 2009, arXiv 0902.2206), so that no list of strings is searched: 1- and
2-grams of words, 2- to 4-grams of characters, all in lower case. Of these `NgramVocabulary` keeps the frequent ones:

    weight(t) = (1 + ln tf(t)) · idf(t)        divided by the norm over words and pairs, or over characters
    embedding = weights @ [topics, vectors]

`topics` are singular vectors (latent semantic analysis, Deerwester et al. 1990), `vectors` of words come from the token
embeddings of a pretrained model. `zooter.router.ngram_encoder` fits all of it to training queries.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zooter.router.text_features import MAX_CHARACTERS

NGRAMS = "ngrams"  # what a manifest has in the place of a model's name
BUCKETS = 2**19  # of each kind of n-gram: many for each that is kept
WORDS, PAIRS, CHARACTERS = (slice(kind * BUCKETS, (kind + 1) * BUCKETS) for kind in range(3))  # places of the kinds
CHARACTER_NGRAMS = (2, 3, 4)
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2⁶⁴
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(65 - BUCKETS.bit_length())
_WORD_CHARACTERS = np.array([chr(code).isalnum() or chr(code) == "_" for code in range(128)] + [True])


def _powers(base: int) -> NDArray[np.uint64]:
    """Compute the powers 0 to `MAX_CHARACTERS` of a number, modulo 2⁶⁴."""
    factors = np.full(MAX_CHARACTERS + 1, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


_POWERS, _INVERSE_POWERS = _powers(_BASE), _powers(pow(_BASE, -1, 2**64))


def hash_ngrams(text: str) -> NDArray[np.int64]:
    """Compute the bucket of every n-gram of a text, with repetitions.

    A word is a run of letters, digits and underscores; every character beyond ASCII counts as a letter.

    Args:
        text: of `MAX_CHARACTERS` characters at most.

    Returns:
        (k,) numbers in the ranges `WORDS`, `PAIRS` and `CHARACTERS`, one kind after the other.
    """
    lower = text.lower()[:MAX_CHARACTERS]  # some characters are two in lower case
    codes = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    word_hashes = _hash_words(codes)
    pairs = (word_hashes[:-1] ^ (word_hashes[1:] >> np.uint64(7))) * np.uint64(_BASE)
    hashes, rolling = [word_hashes, pairs], codes
    for size in range(2, CHARACTER_NGRAMS[-1] + 1):
        rolling = rolling[:-1] * np.uint64(_BASE) + codes[size - 1 :]  # a polynomial of the last `size` characters
        hashes.append(rolling * np.uint64(2 * size + 1))
    buckets = ((np.concatenate(hashes) * _MIX) >> _SHIFT).astype(np.int64)
    buckets[len(word_hashes) :] += PAIRS.start
    buckets[len(word_hashes) + len(pairs) :] += CHARACTERS.start - PAIRS.start
    return buckets


def _hash_words(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash the words of a text of k characters by polynomials of their characters: differences of one running sum."""
    is_word = np.zeros(len(codes) + 2, dtype=bool)
    is_word[1:-1] = _WORD_CHARACTERS[np.minimum(codes, 128)]
    edges = np.flatnonzero(is_word[1:] != is_word[:-1])
    starts, ends = edges[::2], edges[1::2]
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes * _POWERS[: len(codes)], out=sums[1:])
    return ((sums[ends] - sums[starts]) * _INVERSE_POWERS[starts] + np.uint64(1)) * _MIX


@dataclass(frozen=True, eq=False)
class NgramVocabulary:
    """The n-grams that are kept, and their weights.

    Attributes:
        buckets: (f,) of `hash_ngrams`, ascending: words first, then their pairs, then characters.
        idf: (f,) inverse document frequencies.
        max_characters: of a text that are read.
    """

    buckets: NDArray[np.int64]
    idf: NDArray[np.float32]
    max_characters: int

    @cached_property
    def _columns(self) -> NDArray[np.int32]:
        """Bucket → its place among `buckets`; −1 where it is not kept."""
        columns = np.full(CHARACTERS.stop, -1, dtype=np.int32)
        columns[self.buckets] = np.arange(len(self.buckets), dtype=np.int32)
        return columns

    @cached_property
    def words(self) -> int:
        """Number of kept words, which come first."""
        return int(np.searchsorted(self.buckets, PAIRS.start))

    @cached_property
    def words_and_pairs(self) -> int:
        """Number of kept words and pairs of words."""
        return int(np.searchsorted(self.buckets, CHARACTERS.start))

    def tfidf(self, text: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Weigh the kept n-grams of a text.

        Returns:
            (k,) their places among `buckets`, ascending, and weights: norm 1 over words and pairs, and over characters.
        """
        columns = self._columns[hash_ngrams(text[: self.max_characters])]
        columns = np.sort(columns[columns >= 0])
        first = np.flatnonzero(np.diff(columns, prepend=-1))
        counts = np.diff(first, append=len(columns))
        columns = columns[first]
        weights = (1.0 + np.log(counts)).astype(np.float32) * self.idf[columns]
        middle = int(np.searchsorted(columns, self.words_and_pairs))
        for part in (weights[:middle], weights[middle:]):
            part /= max(float(np.sqrt(part @ part)), 1e-12)
        return columns, weights


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map of the first k weights of a vocabulary to e numbers, in 8 bits.

    Attributes:
        components: (k, e) in steps; rounding changes a projection by less than a hundredth of it.
        steps: (k,) size of a step of each n-gram.
    """

    components: NDArray[np.int8]
    steps: NDArray[np.float32]

    @classmethod
    def from_matrix(cls, matrix: NDArray[np.float32]) -> "Projection":
        """Round a matrix (k, e) to 8 bits, each row with its own step."""
        steps = np.maximum(np.abs(matrix).max(axis=1, initial=0.0), 1e-12) / 127.0
        return cls(np.round(matrix / steps[:, None]).astype(np.int8), steps.astype(np.float32))

    def apply(self, columns: NDArray[np.int32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project the weights of a text, as `NgramVocabulary.tfidf` returns them: (e,)."""
        end = int(np.searchsorted(columns, len(self.steps)))
        columns, weights = columns[:end], weights[:end]
        projected: NDArray[np.float32] = (weights * self.steps[columns]) @ self.components[columns].astype(np.float32)
        return projected


@dataclass(frozen=True, eq=False)
class NgramEmbedding:
    """A vocabulary and projections of its weights, which are concatenated.

    Attributes:
        vocabulary: of f n-grams.
        projections: of all f of them, or of the words alone.
    """

    vocabulary: NgramVocabulary
    projections: tuple[Projection, ...]

    @property
    def width(self) -> int:
        """Return e, the numbers of an embedding."""
        return sum(projection.components.shape[1] for projection in self.projections)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Compute embeddings, of each text on its own.

        Args:
            texts: n texts.

        Returns:
            (n, e).
        """
        embeddings = np.empty((len(texts), self.width), dtype=np.float32)
        for i, text in enumerate(texts):
            columns, weights = self.vocabulary.tfidf(text)
            embeddings[i] = np.concatenate([projection.apply(columns, weights) for projection in self.projections])
        return embeddings

    @cached_property
    def fingerprint(self) -> str:
        """Hash everything that can change an embedding: 32 hexadecimal digits."""
        digest = hashlib.sha256()
        for name, array in self._arrays().items():
            digest.update(f"{name} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]

    def save(self, path: Path) -> None:
        """Write everything into one file of NumPy (.npz), without pickle."""
        np.savez(path, allow_pickle=False, **self._arrays())

    @classmethod
    def load(cls, path: Path) -> "NgramEmbedding":
        """Read a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            vocabulary = NgramVocabulary(file["buckets"].astype(np.int64), file["idf"], int(file["max_characters"]))
            count = sum(name.startswith("steps") for name in file.files)
            return cls(vocabulary, tuple(Projection(file[f"components{k}"], file[f"steps{k}"]) for k in range(count)))

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        vocabulary = self.vocabulary
        return {
            "buckets": vocabulary.buckets.astype(np.int32),
            "idf": vocabulary.idf,
            "max_characters": np.array(vocabulary.max_characters),
            **{f"components{k}": projection.components for k, projection in enumerate(self.projections)},
            **{f"steps{k}": projection.steps for k, projection in enumerate(self.projections)},
        }
