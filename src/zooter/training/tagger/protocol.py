"""What every tagger does."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zooter.data.types import Tags


class Tagger(Protocol):
    """Says which tags training queries carry. A router never needs tags for a new query."""

    def fit(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> "Tagger":
        """A tagger that has learned from these (training) queries; the same one when there is nothing to learn.

        Args:
            queries: n texts.
            embeddings: (n, d).
            recorded: (n, t), the tags that the table gives; t = 0 when it gives none.
        """
        ...

    def tag(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> Tags:
        """Tags of any queries, with the same columns at each call after `fit`."""
        ...
