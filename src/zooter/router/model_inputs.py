"""Turn texts into what an export's ONNX graph reads: token ids, or embeddings of n-grams."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zooter.router.ngrams import NgramEmbedding
from zooter.router.token_batches import encode_beginnings, length_batches

LONG_TEXT = 4_096  # characters from which a tokenizer's threads are worth their start
BATCH_TOKENS = 2_048  # padded; larger batches gain no time on a CPU and cost memory
BATCH_TEXTS = 1_024  # whose embeddings are computed at a time

Feed = dict[str, NDArray[Any]]


class ModelInputs(Protocol):
    """Make a graph's inputs of texts."""

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Feed]]:
        """Yield row numbers of b texts and the graph's inputs for them, but for text features.

        Args:
            texts: n queries.
        """
        ...


@dataclass(frozen=True)
class TokenIds:
    """Token ids and mask, (b, l) each, for a transformer.

    Attributes:
        tokenizer: of the `tokenizers` package; cuts texts at the encoder's length and does not pad.
        prefix: text put before every query.
    """

    tokenizer: Any
    prefix: str = ""

    @classmethod
    def load(cls, path: Path, prefix: str) -> "TokenIds":
        """Load a tokenizer's file."""
        from tokenizers import Tokenizer  # not needed for n-grams

        return cls(Tokenizer.from_file(str(path)), prefix)

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Feed]]:
        """Yield texts of similar length; see `ModelInputs.batches`."""
        max_tokens = self.tokenizer.truncation["max_length"]
        prefixed = [self.prefix + text for text in texts]
        ids = [encoding.ids for encoding in encode_beginnings(prefixed, max_tokens, self._encode)]
        for rows in length_batches([len(row) for row in ids], BATCH_TOKENS):
            yield rows, pad([ids[i] for i in rows])

    def _encode(self, texts: list[str]) -> list[Any]:
        """Tokenize texts; long ones without Python's lock, which short ones hold for less than a millisecond."""
        if max(map(len, texts)) > LONG_TEXT:
            return list(self.tokenizer.encode_batch(texts))
        return [self.tokenizer.encode(text) for text in texts]


@dataclass(frozen=True)
class NgramEmbeddings:
    """Embeddings (b, e) of n-grams, for a graph of a head alone."""

    embedding: NgramEmbedding

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Feed]]:
        """Yield texts in their order; see `ModelInputs.batches`."""
        for start in range(0, len(texts), BATCH_TEXTS):
            batch = texts[start : start + BATCH_TEXTS]
            yield list(range(start, start + len(batch))), {"embeddings": self.embedding.embed(batch)}


def pad(ids: list[list[int]]) -> Feed:
    """Pad b rows of token ids at the end: token ids and mask, (b, l) each."""
    tokens = np.zeros((len(ids), max(1, *map(len, ids))), dtype=np.int64)  # masked tokens can have any value
    mask = np.zeros_like(tokens)
    for i, row in enumerate(ids):
        tokens[i, : len(row)], mask[i, : len(row)] = row, 1
    return {"input_ids": tokens, "attention_mask": mask}
