"""Features of training queries that stay in a mapped file, and are computed on in chunks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zooter.data.mapped import CHUNK_ROWS, chunks, mapped_array
from zooter.data.types import Ints
from zooter.router.net import encoder_and_text_features
from zooter.router.text_features import TEXT_FEATURES


@dataclass(frozen=True)
class FeatureRows:
    """Some rows of features, read and standardised a chunk at a time; few enough of them are kept.

    Attributes:
        features: (n, d) of all queries.
        rows: (r,) row numbers.
        transform: of each chunk, such as `Head.standardise`; None leaves it as it is.
    """

    features: Tensor
    rows: Ints
    transform: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def of(cls, features: "Tensor | FeatureRows") -> "FeatureRows":
        """Take all rows of a tensor; rows are returned as they are."""
        return features if isinstance(features, FeatureRows) else cls(features, np.arange(len(features)))

    @property
    def shape(self) -> tuple[int, int]:
        """(r, d)."""
        return len(self.rows), self.features.shape[1]

    def take(self, positions: Ints) -> "FeatureRows":
        """Select some of these rows, by their positions among them."""
        return FeatureRows(self.features, self.rows[positions], self.transform)

    def transformed(self, transform: Callable[[Tensor], Tensor]) -> "FeatureRows":
        """Apply a function to each chunk that is read, in place of an earlier one."""
        return FeatureRows(self.features, self.rows, transform)

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield consecutive slices of 0…r−1 with the features of these rows."""
        if len(self.rows) <= CHUNK_ROWS:
            yield slice(0, len(self.rows)), self._kept
            return
        for chunk in chunks(len(self.rows)):
            yield chunk, self._read(chunk)

    def map(self, function: Callable[[Tensor], Tensor]) -> NDArray[np.float64]:
        """Apply a function without gradients that makes (c, k) of each chunk of features (c, d); returns (r, k)."""
        with torch.no_grad():
            return np.concatenate([function(values).double().numpy() for _, values in self.chunks()])

    @cached_property
    def _kept(self) -> Tensor:
        return self._read(slice(None))

    def _read(self, chunk: slice) -> Tensor:
        values = self.features[torch.from_numpy(self.rows[chunk])]
        return values if self.transform is None else self.transform(values)


def map_features(embeddings: NDArray[np.float32], texts: Sequence[str]) -> Tensor:
    """Join embeddings (n, e) and text features into a mapped array: (n, d), as `encoder_and_text_features` does.

    Args:
        embeddings: of the texts.
        texts: n queries.
    """
    features = mapped_array(len(texts), embeddings.shape[1] + TEXT_FEATURES)
    for chunk in chunks(len(texts)):
        features[chunk] = encoder_and_text_features(embeddings[chunk], texts[chunk]).numpy()
    return torch.from_numpy(features)
