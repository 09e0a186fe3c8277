"""Define the protocol of engines: where a stage's work on missing cells runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import pyarrow as pa

from zooter.collect.engine.outcomes import Outcomes

Report = Callable[[Outcomes], None]  # adds what has happened since the last call; raises if a run has to stop


class Work(Protocol):
    """Compute cells and write them into the cache; picklable, so that other processes can do it."""

    def __call__(self, cells: pa.Table, report: Report, shard: str | None) -> None:
        """Compute the cells that are not stored yet under the name of their shard, and store them.

        Args:
            cells: one row per missing cell, with the column `key`.
            report: is called after cells were stored.
            shard: name of the shard that they become; None where nothing calls again with the same cells.

        Raises:
            ZooterError: the work cannot be done, or `report` stops it. What was computed before is stored.
        """
        ...


@dataclass(frozen=True)
class Job:
    """What an engine is asked to do.

    Attributes:
        title: of the progress bar.
        stage: whose pool of actors does it.
        work: computes cells.
        total: number of cells in all tables.
        shards: number of tables; see `count_shards`.
        max_failures: share of a candidate's first attempts that may fail, in the whole cluster; more stop the run.
    """

    title: str
    stage: Literal["respond", "reward", "tag", "embed"]
    work: Work
    total: int
    shards: int = 1
    max_failures: float = 1.0


def count_shards(missing: Iterable[int], shard_cells: int | None) -> int:
    """Count the tables that missing cells are cut into, those of each candidate by themselves.

    Args:
        missing: number of missing cells of each candidate.
        shard_cells: of an engine.
    """
    return 1 if shard_cells is None else sum(-(-cells // shard_cells) for cells in missing)


class Engine(Protocol):
    """Run the work of a stage on tables of missing cells."""

    @property
    def shard_cells(self) -> int | None:
        """Return how many cells a table may have, all of one candidate; None takes all candidates in one table."""
        ...

    def run(self, job: Job, tables: Iterable[pa.Table]) -> Outcomes:
        """Do the work on each table, one after the other.

        Args:
            job: the work.
            tables: missing cells, each once. They are made one at a time, in another thread perhaps.

        Returns:
            What has become of all cells.

        Raises:
            ZooterError: as the work does; cells that were stored before are kept.
        """
        ...
