"""What every rewarder does."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from zooter.types import Floats, Query, Response


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


def answered(responses: Sequence[Response]) -> list[int]:
    """Positions of the responses that did not fail."""
    return [i for i, response in enumerate(responses) if response.error is None]
