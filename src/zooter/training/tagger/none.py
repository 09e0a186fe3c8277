"""No tags: every label is smoothed towards the mean of all queries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter.data.types import Tags


@dataclass(frozen=True)
class NoTagger:
    """Gives no query a tag."""

    def fit(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> "NoTagger":
        return self

    def tag(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> Tags:
        return Tags.none(len(queries))
