"""Keep what the workers of a cluster share: the counts of all cells, and the limit on failures."""

from dataclasses import dataclass, field

from zooter.collect.engine.outcomes import Outcomes
from zooter.errors import ZooterError


@dataclass
class ClusterState:
    """The counts of one stage; a single Ray actor holds them.

    Attributes:
        max_failures: share of a candidate's first attempts that may fail.
        outcomes: of all cells so far.
        open_cells: shard → number of its cells that are not done, while an actor works on it.
    """

    max_failures: float
    outcomes: Outcomes = field(default_factory=Outcomes)
    open_cells: dict[str, int] = field(default_factory=dict)

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
            return error
        return None

    def get_counts(self) -> tuple[Outcomes, int]:
        """Return the outcomes so far, and the number of cells that actors are working on."""
        return self.outcomes, sum(self.open_cells.values())

    def get_outcomes(self) -> Outcomes:
        """Return the outcomes so far."""
        return self.outcomes
