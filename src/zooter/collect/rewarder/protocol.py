"""Protocols of rewarders."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zooter.data.types import Floats, Query, Response


class Rewarder(Protocol):
    """Reward responses: a number for each (query, response) pair."""

    def identity(self) -> Mapping[str, object]:
        """Return everything that can change a reward, JSON-ready: part of the content key of every reward.

        What cannot change a reward (batch size, address, timeout, device) is left out.
        """
        ...

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """Compute rewards.

        Args:
            queries: n queries; `queries[i]` belongs to `responses[i]`.
            responses: n responses.

        Returns:
            (n,) rewards, larger is better; NaN without one: a failed response, or one that could not be rewarded.
        """
        ...


@runtime_checkable
class CompositeRewarder(Protocol):
    """Combine the rewards of several rewarders.

    Rewards are cached per part, so that a change of weights computes none of them again.
    """

    @property
    def parts(self) -> Mapping[str, Rewarder]:
        """Name → rewarder."""
        ...

    def with_scales(self, rewards: Mapping[str, Floats], train: NDArray[np.bool_] | None = None) -> "CompositeRewarder":
        """Return a copy with each part's scale fitted to its rewards.

        Args:
            rewards: part → (n, …) rewards.
            train: (n,) rows to fit to; None takes all.
        """
        ...

    def combine(self, rewards: Mapping[str, Floats]) -> Floats:
        """Combine the parts' rewards.

        Args:
            rewards: part → rewards, all of one shape.

        Returns:
            Rewards of the same shape.
        """
        ...


def answered_rows(responses: Sequence[Response]) -> list[int]:
    """Return the positions of the responses that did not fail."""
    return [i for i, response in enumerate(responses) if response.error is None]
