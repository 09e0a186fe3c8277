"""The inputs of a net: features computed beforehand, or texts as tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from zooter.data.types import Ints
from zooter.router.encoder import Encoder


class Inputs(Protocol):
    """The inputs of a net for n queries."""

    @property
    def lengths(self) -> Ints | None:
        """(n,) tokens of each text, by which batches are sorted; None where all rows are alike."""
        ...

    def take(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """Make a batch of some rows: the arguments of `Net.forward`."""
        ...


@dataclass(frozen=True)
class FeatureInputs:
    """Features (n, d) computed beforehand; lengths do not matter to them."""

    features: Tensor
    lengths: None = None

    def take(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """Make a batch: features (b, d)."""
        return (self.features[rows],)


@dataclass(frozen=True)
class TokenInputs:
    """Texts as token ids, padded batch by batch.

    Attributes:
        text_features: (n, s), `router.text_features`; None for a head that does not read them.
        encoder: pads.
        ids: the token ids of n queries.
    """

    text_features: Tensor | None
    encoder: Encoder
    ids: list[list[int]]

    @property
    def lengths(self) -> Ints:
        """(n,) tokens of each text."""
        return np.array([len(row) for row in self.ids])

    def take(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """Make a batch: text features (b, s) if any, tokens (b, l) and mask (b, l)."""
        surface = () if self.text_features is None else (self.text_features[rows],)
        return (*surface, *self.encoder.pad([self.ids[row] for row in rows]))
