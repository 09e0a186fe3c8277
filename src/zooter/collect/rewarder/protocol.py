"""What every rewarder does."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zooter.data.types import Floats, Query, Response


class Rewarder(Protocol):
    """Says how good a response is to its query."""

    def identity(self) -> Mapping[str, object]:
        """Everything that can change a reward, JSON-ready: it goes into the content key of every reward.

        What cannot change one (batch size, address, timeout, device) is left out.
        """
        ...

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        """(n,) rewards, larger is better; NaN where there is none: a failed response, or one nobody could judge.

        Args:
            queries: n queries; `queries[i]` is what `responses[i]` answers.
            responses: n responses.
        """
        ...


@runtime_checkable
class Combination(Protocol):
    """Several rewarders as one. The cells are those of its parts, so that another weight computes nothing again."""

    @property
    def parts(self) -> Mapping[str, Rewarder]:
        """Name → rewarder."""
        ...

    def with_scales(self, rewards: Mapping[str, Floats], train: NDArray[np.bool_] | None = None) -> "Combination":
        """The same with each part's scale learned from rewards (n, …), of the rows `train` (n,) or of all."""
        ...

    def combine(self, rewards: Mapping[str, Floats]) -> Floats:
        """Rewards of one shape from those of the parts."""
        ...


def answered_rows(responses: Sequence[Response]) -> list[int]:
    """Positions of the responses that did not fail."""
    return [i for i, response in enumerate(responses) if response.error is None]
