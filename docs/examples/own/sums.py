"""A reader and a rewarder of one's own; docs/what-you-have.md says how to choose them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zooter.data.types import Floats, Query, Response


@dataclass(frozen=True)
class SumReader:
    """Read sums of two equal numbers.

    Attributes:
        count: number of queries.
    """

    count: int

    def read(self) -> list[Query]:
        """Return the queries, with distinct ids."""
        return [Query(f"sum-{i}", f"What is {i} plus {i}?", str(2 * i)) for i in range(self.count)]


@dataclass(frozen=True)
class BrevityRewarder:
    """Reward short responses."""

    def identity(self) -> Mapping[str, object]:
        """Return what rewards depend on; change it, and they are computed again."""
        return {"rewarder": "brevity"}

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """Return the number of characters, negated; NaN for a failed response."""
        return np.array([np.nan if response.error else -float(len(response.text)) for response in responses])
