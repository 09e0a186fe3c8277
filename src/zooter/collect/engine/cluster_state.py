"""Keep what the workers of a cluster share: shards to do, the counts of all cells, limits on failures and calls."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.responder.client.shared_limit import LimitHolder
from zooter.errors import ZooterError


@dataclass
class ClusterState:
    """The counts and limits of one stage; a single Ray actor holds them.

    Attributes:
        max_failures: share of a candidate's first attempts that may fail.
        outcomes: of all cells so far.
        offered: number of a shard → reference to its cells, until it is done.
        ended: numbers of the shards that are done.
        open_cells: number of a shard → number of its cells that are not done, while an actor works on it.
        limits: address of a server → its limit of calls at a time, for the whole cluster.
        error: why the driver or the first actor stopped that had to; None while all go on.
    """

    max_failures: float
    outcomes: Outcomes = field(default_factory=Outcomes)
    offered: dict[int, Sequence[Any]] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    open_cells: dict[int, int] = field(default_factory=dict)
    limits: dict[str, LimitHolder] = field(default_factory=dict)
    error: Exception | None = None

    def offer(self, shard: int, cells: Sequence[Any]) -> None:
        """Keep a reference to the cells of a shard, in a sequence: Ray would replace a bare one by the cells."""
        self.offered[shard] = cells

    def count_offered(self) -> int:
        """Count the shards that have been offered and are not done."""
        return len(self.offered)

    def take(self, shard: int) -> Sequence[Any] | None:
        """Return a reference to a shard's cells; none where it is done, and None before it is offered."""
        return [] if shard in self.ended else self.offered.get(shard)

    def start_shard(self, shard: int, cells: int) -> None:
        """Note that an actor has taken a shard; again after another one has died with it."""
        self.open_cells[shard] = cells

    def end_shard(self, shard: int) -> None:
        """Note that a shard is complete."""
        self.ended.add(shard)
        self.offered.pop(shard, None)
        self.open_cells.pop(shard, None)

    def add(self, shard: int, latest: Outcomes) -> Exception | None:
        """Add what an actor has done.

        Args:
            shard: number of the shard that it works on.
            latest: since its last call.

        Returns:
            Why all actors have to stop, after too many failures; None lets them go on.
        """
        self.outcomes.merge(latest)
        if shard in self.open_cells:
            self.open_cells[shard] -= latest.cells
        try:
            self.outcomes.check(self.max_failures, list(self.outcomes.failures))
        except ZooterError as error:
            self.stop(error)
        return self.error

    def stop(self, error: Exception) -> None:
        """Let all actors stop, for the reason of the first one that had to."""
        self.error = self.error or error

    def get_error(self) -> Exception | None:
        """Return why the actors had to stop, or None."""
        return self.error

    def exchange_slots(
        self, address: str, concurrency: int, process: str, in_use: int, demand: int, pause: float
    ) -> tuple[int, float]:
        """Renew one process's part of a server's limit; see `LimitHolder.exchange`."""
        limit = self.limits.setdefault(address, LimitHolder(concurrency))
        return limit.exchange(process, in_use, demand, pause)

    def get_counts(self) -> tuple[Outcomes, int]:
        """Return the outcomes so far, and the number of cells that actors are working on."""
        return self.outcomes, sum(self.open_cells.values())

    def get_outcomes(self) -> Outcomes:
        """Return the outcomes so far."""
        return self.outcomes
