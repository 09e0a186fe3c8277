"""Keep what the workers of a cluster share: the counts of all cells, and the limits on failures and calls."""

from dataclasses import dataclass, field

from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.responder.client.shared_limit import LimitHolder
from zooter.errors import ZooterError


@dataclass
class ClusterState:
    """The counts and limits of one stage; a single Ray actor holds them.

    Attributes:
        max_failures: share of a candidate's first attempts that may fail.
        outcomes: of all cells so far.
        open_cells: shard → number of its cells that are not done, while an actor works on it.
        limits: address of a server → its limit of calls at a time, for the whole cluster.
        error: why the first actor stopped that had to; None while all go on.
    """

    max_failures: float
    outcomes: Outcomes = field(default_factory=Outcomes)
    open_cells: dict[str, int] = field(default_factory=dict)
    limits: dict[str, LimitHolder] = field(default_factory=dict)
    error: ZooterError | None = None

    def start_shard(self, shard: str, cells: int) -> None:
        """Note that an actor has taken a shard; again after another one has died with it."""
        self.open_cells[shard] = cells

    def end_shard(self, shard: str) -> None:
        """Note that a shard is complete."""
        self.open_cells.pop(shard, None)

    def add(self, shard: str, latest: Outcomes) -> ZooterError | None:
        """Add what an actor has done.

        Args:
            shard: that it works on.
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

    def stop(self, error: ZooterError) -> None:
        """Let all actors stop, for the reason of the first one that had to."""
        self.error = self.error or error

    def get_error(self) -> ZooterError | None:
        """Return why the actors had to stop, or None."""
        return self.error

    def exchange_slots(
        self, address: str, concurrency: int, process: str, in_use: int, wanted: int, pause: float
    ) -> tuple[int, float]:
        """Renew one process's part of a server's limit; see `LimitHolder.exchange`."""
        limit = self.limits.setdefault(address, LimitHolder(concurrency))
        return limit.exchange(process, in_use, wanted, pause)

    def get_counts(self) -> tuple[Outcomes, int]:
        """Return the outcomes so far, and the number of cells that actors are working on."""
        return self.outcomes, sum(self.open_cells.values())

    def get_outcomes(self) -> Outcomes:
        """Return the outcomes so far."""
        return self.outcomes
