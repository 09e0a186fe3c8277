"""Embed texts by their n-grams: TF-IDF of hashed words and characters, projected on fewer dimensions. NumPy alone.

N-grams are numbered by hashes (Weinberger et al. 2009, arXiv 0902.2206), so that no list of strings is searched: 1- and
2-grams of words, 2- to 4-grams of characters, all in lower case. Of these `NgramVocabulary` keeps the frequent ones:

    weight(t) = (1 + ln tf(t)) · idf(t)        divided by the norm of all words' weights, or of all characters'
    embedding = weights @ components           latent semantic analysis (Deerwester et al. 1990)

`zooter.router.ngram_encoder` fits both to training queries. A text takes a tenth of a millisecond.
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
HASH_BITS = 19  # buckets of words, and as many of characters: ten for each n-gram that is kept
CHARACTER_NGRAMS = (2, 3, 4)
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2⁶⁴
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(64 - HASH_BITS)
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
        (k,) numbers: words' below 2^HASH_BITS, characters' from there below 2^(HASH_BITS + 1).
    """
    lower = text.lower()[:MAX_CHARACTERS]  # some characters are two in lower case
    codes = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    word_hashes = _hash_words(codes)
    pairs = (word_hashes[:-1] ^ (word_hashes[1:] >> np.uint64(7))) * np.uint64(_BASE)
    words = (np.concatenate([word_hashes, pairs]) * _MIX) >> _SHIFT
    by_size, rolling = [], codes
    for size in range(2, CHARACTER_NGRAMS[-1] + 1):
        rolling = rolling[:-1] * np.uint64(_BASE) + codes[size - 1 :]  # a polynomial of the last `size` characters
        by_size.append(rolling * np.uint64(2 * size + 1))
    characters = ((np.concatenate(by_size) * _MIX) >> _SHIFT) + np.uint64(2**HASH_BITS)
    return np.concatenate([words, characters]).astype(np.int64)


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
        buckets: (f,) of `hash_ngrams`, ascending: words first, then characters.
        idf: (f,) inverse document frequencies.
        max_characters: of a text that are read.
    """

    buckets: NDArray[np.int64]
    idf: NDArray[np.float32]
    max_characters: int

    @cached_property
    def _columns(self) -> NDArray[np.int32]:
        """Bucket → its place among `buckets`; −1 where it is not kept."""
        columns = np.full(2 ** (HASH_BITS + 1), -1, dtype=np.int32)
        columns[self.buckets] = np.arange(len(self.buckets), dtype=np.int32)
        return columns

    @cached_property
    def _words(self) -> int:
        """Number of kept words and pairs of words."""
        return int(np.searchsorted(self.buckets, 2**HASH_BITS))

    def tfidf(self, text: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Weigh the kept n-grams of a text.

        Returns:
            (k,) their places among `buckets`, ascending, and their weights; words' have norm 1, and characters' too.
        """
        columns = self._columns[hash_ngrams(text[: self.max_characters])]
        columns = np.sort(columns[columns >= 0])
        first = np.flatnonzero(np.diff(columns, prepend=-1))
        counts = np.diff(first, append=len(columns))
        columns = columns[first]
        weights = (1.0 + np.log(counts)).astype(np.float32) * self.idf[columns]
        middle = int(np.searchsorted(columns, self._words))
        for part in (weights[:middle], weights[middle:]):
            part /= max(float(np.sqrt(part @ part)), 1e-12)
        return columns, weights


@dataclass(frozen=True, eq=False)
class NgramEmbedding:
    """A vocabulary and a projection of its weights.

    Attributes:
        vocabulary: of f n-grams.
        components: (f, e) in steps; rounded to 8 bits, which changes embeddings by less than a hundredth of them.
        steps: (f,) size of a step of each n-gram.
    """

    vocabulary: NgramVocabulary
    components: NDArray[np.int8]
    steps: NDArray[np.float32]

    @classmethod
    def from_components(cls, vocabulary: NgramVocabulary, components: NDArray[np.float32]) -> "NgramEmbedding":
        """Round a projection (f, e) to 8 bits."""
        steps = np.maximum(np.abs(components).max(axis=1, initial=0.0), 1e-12) / 127.0
        return cls(vocabulary, np.round(components / steps[:, None]).astype(np.int8), steps.astype(np.float32))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Compute embeddings, of each text on its own.

        Args:
            texts: n texts.

        Returns:
            (n, e).
        """
        embeddings = np.empty((len(texts), self.components.shape[1]), dtype=np.float32)
        for i, text in enumerate(texts):
            columns, weights = self.vocabulary.tfidf(text)
            embeddings[i] = (weights * self.steps[columns]) @ self.components[columns].astype(np.float32)
        return embeddings

    @cached_property
    def fingerprint(self) -> str:
        """Hash everything that can change an embedding: 32 hexadecimal digits."""
        digest = hashlib.sha256(str(self.vocabulary.max_characters).encode())
        for array in self._arrays().values():
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]

    def save(self, path: Path) -> None:
        """Write everything into one file of NumPy (.npz), without pickle."""
        np.savez(path, allow_pickle=False, **self._arrays())

    @classmethod
    def load(cls, path: Path) -> "NgramEmbedding":
        """Read a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            vocabulary = NgramVocabulary(file["buckets"].astype(np.int64), file["idf"], int(file["max_characters"]))
            return cls(vocabulary, file["components"], file["steps"])

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        vocabulary = self.vocabulary
        return {
            "buckets": vocabulary.buckets.astype(np.int32), "idf": vocabulary.idf, "steps": self.steps,
            "components": self.components, "max_characters": np.array(vocabulary.max_characters),
        }  # fmt: skip
