"""Define the interface of taggers."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zooter.collect.engine.protocol import Engine
from zooter.data.types import Tags


class Tagger(Protocol):
    """Tag queries for the labels of training. A router never needs tags for a new query."""

    def fit(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> "Tagger":
        """Learn from training queries, and return the fitted tagger; the same one when there is nothing to learn.

        Args:
            queries: n texts.
            embeddings: (n, e).
            recorded: (n, t) the tags that the table gives; t = 0 when it gives none.
        """
        ...

    def tag(self, queries: Sequence[str], embeddings: NDArray[np.float32], recorded: Tags) -> Tags:
        """Tag any queries, with the same columns at each call after `fit`.

        Args:
            queries: n texts.
            embeddings: (n, e).
            recorded: (n, t) the tags that the table gives.
        """
        ...


@runtime_checkable
class AskingTagger(Protocol):
    """A tagger that asks a model, whose replies can be computed ahead."""

    def fill(self, queries: Sequence[str], engine: Engine) -> None:
        """Ask a cluster for what is missing.

        Args:
            queries: n texts.
            engine: where the model is asked.
        """
        ...
