"""What every reader does."""

from typing import Protocol

from zooter.data.types import Query


class Reader(Protocol):
    """Gives the queries of a live run."""

    def read(self) -> list[Query]:
        """Queries with different texts and different ids, always in the same order.

        Raises:
            RecordsError: there are none, or they cannot be read.
        """
        ...
