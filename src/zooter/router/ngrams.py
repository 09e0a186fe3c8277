"""Embed texts by their n-grams: TF-IDF of hashed words and characters, projected on fewer dimensions. NumPy alone.

N-grams are numbered by hashes (Weinberger et al. 2009, arXiv 0902.2206), so that no list of strings is searched: 1- and
2-grams of words and 2- to 4-grams of characters, in lower case, and 1- to 5-grams of the text's shape, where a run of
letters or digits is one symbol. Of these `NgramVocabulary` keeps the frequent ones:

    weight(t) = (1 + ln tf(t)) · idf(t)        divided by the norm over words and pairs, characters, or shapes
    embedding = weights @ topics

`topics` are singular vectors of the weights (latent semantic analysis, Deerwester et al. 1990), of words and characters
and of shapes. `zooter.router.ngram_encoder` fits all of it to training queries.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter.errors import ExportError
from zooter.router.text_features import MAX_CHARACTERS

NGRAMS = "ngrams"  # what a manifest has in the place of a model's name
VERSION = 2  # of the file and of the n-grams' numbers
BUCKETS = 2**19  # of each kind of n-gram: many for each that is kept
KINDS = WORDS, PAIRS, CHARACTERS, SHAPES = tuple(slice(kind * BUCKETS, (kind + 1) * BUCKETS) for kind in range(4))
CHARACTER_NGRAMS = range(2, 5)
SHAPE_NGRAMS = range(1, 6)
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2⁶⁴
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(65 - BUCKETS.bit_length())
_BEYOND_ASCII = 128  # stands for all these characters
_WORD_CHARACTERS = np.array([chr(code).isalnum() or chr(code) == "_" for code in range(_BEYOND_ASCII)] + [True])
_SMALL, _CAPITAL, _DIGIT = (np.uint64(ord(char)) for char in "aA0")
_SHAPE_SYMBOLS = np.array(
    [
        _SMALL if char.islower() else _CAPITAL if char.isupper() else _DIGIT if char.isdigit() else np.uint64(ord(char))
        for char in map(chr, range(_BEYOND_ASCII))
    ]
    + [_SMALL]
)


def _powers(base: int) -> NDArray[np.uint64]:
    """Compute the powers 0 to `MAX_CHARACTERS` of a number, modulo 2⁶⁴."""
    factors = np.full(MAX_CHARACTERS + 1, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


_POWERS, _INVERSE_POWERS = _powers(_BASE), _powers(pow(_BASE, -1, 2**64))


def hash_ngrams(text: str) -> NDArray[np.int64]:
    """Compute the bucket of every n-gram of a text, with repetitions.

    A word is a run of letters, digits and underscores; every character beyond ASCII counts as a small letter.

    Args:
        text: of `MAX_CHARACTERS` characters at most.

    Returns:
        (k,) numbers in the ranges of `KINDS`, one kind after the other.
    """
    codes = _codes(text.lower()[:MAX_CHARACTERS])  # some characters are two in lower case
    words = _hash_words(codes)
    pairs = (words[:-1] ^ (words[1:] >> np.uint64(7))) * np.uint64(_BASE)
    characters, shapes = _hash_runs(codes, CHARACTER_NGRAMS), _hash_runs(_shape(_codes(text)), SHAPE_NGRAMS)
    buckets = ((np.concatenate([words, pairs, *characters, *shapes]) * _MIX) >> _SHIFT).astype(np.int64)
    end = len(words)
    for kind, count in zip(KINDS[1:], (len(pairs), sum(map(len, characters)), sum(map(len, shapes))), strict=True):
        buckets[end : end + count] += kind.start
        end += count
    return buckets


def _codes(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)


def _shape(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Reduce each run of small letters, capitals or digits to one symbol; of the latter, a run of several to another.

    The word shapes of information extraction (Collins 2002, §3), for whole texts: "Is 17 > 3?" is "Aa 1 > 0?".
    """
    symbols = _SHAPE_SYMBOLS[np.minimum(codes, _BEYOND_ASCII)]
    is_run = (symbols == _SMALL) | (symbols == _CAPITAL) | (symbols == _DIGIT)
    starts = np.flatnonzero(_differs_from_last(symbols) | ~is_run)
    several = _lengths(starts, len(codes)) > 1
    symbols = symbols[starts]
    return symbols + (several & (symbols != _SMALL))  # "B" and "1" stand for nothing else


def _differs_from_last(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark the values that differ from the one before; the first does. Faster than `np.diff` on short arrays."""
    differs = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=differs[1:])
    return differs


def _lengths(starts: NDArray[np.intp], end: int) -> NDArray[np.intp]:
    """Compute the lengths of runs that begin at `starts`, the last of which ends at `end`."""
    lengths = np.empty_like(starts)
    lengths[:-1] = starts[1:] - starts[:-1]
    lengths[-1:] = end - starts[-1:]
    return lengths


def _hash_runs(codes: NDArray[np.uint64], sizes: range) -> list[NDArray[np.uint64]]:
    """Hash the runs of each size of successive codes: polynomials, computed from those of one code less."""
    hashes, rolling = [], codes
    for size in range(1, sizes.stop):
        if size > 1:
            rolling = rolling[:-1] * np.uint64(_BASE) + codes[size - 1 :]
        if size in sizes:
            hashes.append(rolling * np.uint64(2 * size + 1))
    return hashes


def _hash_words(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash the words of a text of k characters by polynomials of their characters: differences of one running sum."""
    is_word = np.zeros(len(codes) + 2, dtype=bool)
    is_word[1:-1] = _WORD_CHARACTERS[np.minimum(codes, _BEYOND_ASCII)]
    edges = np.flatnonzero(is_word[1:] != is_word[:-1])
    starts, ends = edges[::2], edges[1::2]
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes * _POWERS[: len(codes)], out=sums[1:])
    return ((sums[ends] - sums[starts]) * _INVERSE_POWERS[starts] + np.uint64(1)) * _MIX


@dataclass(frozen=True, eq=False)
class NgramVocabulary:
    """The n-grams that are kept, and their weights.

    Attributes:
        buckets: (f,) of `hash_ngrams`, ascending, so that the kinds follow each other as in `KINDS`.
        idf: (f,) inverse document frequencies.
        max_characters: of a text that are read.
    """

    buckets: NDArray[np.int64]
    idf: NDArray[np.float32]
    max_characters: int

    @cached_property
    def _columns(self) -> NDArray[np.int32]:
        """Bucket → its place among `buckets`; −1 where it is not kept."""
        columns = np.full(KINDS[-1].stop, -1, dtype=np.int32)
        columns[self.buckets] = np.arange(len(self.buckets), dtype=np.int32)
        return columns

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Places among `buckets` at which the kinds end."""
        return tuple(np.searchsorted(self.buckets, [kind.stop for kind in KINDS]).tolist())

    def tfidf(self, text: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Weigh the kept n-grams of a text.

        Returns:
            (k,) their places among `buckets`, ascending, and weights: norm 1 over words and pairs, over characters, and
            over shapes.
        """
        columns = self._columns[hash_ngrams(text[: self.max_characters])]
        columns = np.sort(columns[columns >= 0])
        first = np.flatnonzero(_differs_from_last(columns))
        counts = _lengths(first, len(columns))
        columns = columns[first]
        weights = (1.0 + np.log(counts)).astype(np.float32) * self.idf[columns]
        middle, end = np.searchsorted(columns, self.ends[1:3])
        for part in (weights[:middle], weights[middle:end], weights[end:]):
            part /= max(float(np.sqrt(part @ part)), 1e-12)
        return columns, weights


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map of k successive weights of a vocabulary to e numbers, in 8 bits.

    Attributes:
        start: place of the first of the weights.
        components: (k, e) in steps; rounding changes a projection by less than a hundredth of it.
        steps: (k,) size of a step of each n-gram.
    """

    start: int
    components: NDArray[np.int8]
    steps: NDArray[np.float32]

    @classmethod
    def from_matrix(cls, matrix: NDArray[np.float32], start: int = 0) -> "Projection":
        """Round a matrix (k, e) to 8 bits, each row with its own step."""
        steps = np.maximum(np.abs(matrix).max(axis=1, initial=0.0), 1e-12) / 127.0
        return cls(start, np.round(matrix / steps[:, None]).astype(np.int8), steps.astype(np.float32))

    def apply(self, columns: NDArray[np.int32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project the weights of a text, as `NgramVocabulary.tfidf` returns them: (e,)."""
        first, end = np.searchsorted(columns, (self.start, self.start + len(self.steps)))
        rows = columns[first:end] - self.start
        projected: NDArray[np.float32] = (weights[first:end] * self.steps[rows]) @ self.components[rows].astype(
            np.float32
        )
        return projected


@dataclass(frozen=True, eq=False)
class NgramEmbedding:
    """A vocabulary and projections of its weights, which are concatenated.

    Attributes:
        vocabulary: of f n-grams.
        projections: each of successive n-grams.
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
        """Read a file that `save` wrote.

        Raises:
            ExportError: it is of another version of zooter, which numbered n-grams otherwise.
        """
        with np.load(path, allow_pickle=False) as file:
            version = int(file["version"]) if "version" in file.files else 1
            if version != VERSION:
                raise ExportError(
                    expected=f"n-grams of version {VERSION} in {path}",
                    found=f"version {version}, which an earlier or later zooter wrote",
                    do="load it with the zooter that wrote it, or train again",
                )
            vocabulary = NgramVocabulary(file["buckets"].astype(np.int64), file["idf"], int(file["max_characters"]))
            projections = (
                Projection(start, file[f"components{k}"], file[f"steps{k}"])
                for k, start in enumerate(file["starts"].tolist())
            )
            return cls(vocabulary, tuple(projections))

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        vocabulary = self.vocabulary
        return {
            "version": np.array(VERSION),
            "starts": np.array([projection.start for projection in self.projections]),
            "buckets": vocabulary.buckets.astype(np.int32),
            "idf": vocabulary.idf,
            "max_characters": np.array(vocabulary.max_characters),
            **{f"components{k}": projection.components for k, projection in enumerate(self.projections)},
            **{f"steps{k}": projection.steps for k, projection in enumerate(self.projections)},
        }
