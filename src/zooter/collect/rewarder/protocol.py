"""Define the protocols of rewarders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zooter.collect.spending import Spending
from zooter.data.types import Floats, Query, Response

CHARACTERS_PER_TOKEN = 4.0  # of English text, where no response tells


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


@dataclass(frozen=True)
class CallEstimate:
    """Calls that rewards would take, without those that are repeated because a reply cannot be read.

    Attributes:
        calls: number of calls that are not in the cache.
        pairs: number of pairs that these calls compare; None for a rewarder that compares none.
        input_tokens: estimated sum over the calls.
        output_tokens: estimated sum over the calls.
        cost: in US dollars; None if a price is not known.
        guessed: whether the replies' length is the longest allowed, as none is stored.
    """

    calls: int
    pairs: int | None
    input_tokens: float
    output_tokens: float
    cost: float | None
    guessed: bool


@runtime_checkable
class AskingRewarder(Rewarder, Protocol):
    """A rewarder that asks a model, whose calls cost money and whose replies may be unreadable."""

    @property
    def spent(self) -> Spending:
        """Return the calls made so far and their cost."""
        ...

    @property
    def max_failures(self) -> float:
        """Return the share, in [0, 1], of the responses asked about that may be left without a reward."""
        ...

    def askable_rows(self, queries: Sequence[Query], responses: Sequence[Response]) -> list[int]:
        """Return the positions of the responses that the model is asked about, with the arguments of `reward`.

        Args:
            queries: n queries; `queries[i]` belongs to `responses[i]`.
            responses: n responses.
        """
        ...

    def estimate_calls(self, queries: Sequence[Query], responses: Sequence[Response]) -> CallEstimate:
        """Estimate the calls that `reward` would make with these arguments; nothing is asked.

        Args:
            queries: n queries; `queries[i]` belongs to `responses[i]`.
            responses: n responses.
        """
        ...


@runtime_checkable
class ComparingRewarder(AskingRewarder, Protocol):
    """A rewarder whose rewards depend on the other responses to the same query, so that all are given at once."""

    compares_responses: ClassVar[bool]


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
