"""An engine that gives every shard to the work twice, as Ray does when a worker dies after its last write."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.engine.protocol import Job
from zooter.collect.engine.ray_worker import shard_name


@dataclass
class ShardedEngine:
    """Run shards in this process, each twice.

    Attributes:
        shard_cells: cells of a shard.
        shards: names of those that were run, in order.
    """

    shard_cells: int = 2
    shards: list[str] = field(default_factory=list)

    def run(self, job: Job, tables: Iterable[pa.Table]) -> Outcomes:
        outcomes, before = Outcomes(), len(self.shards)
        for table in tables:
            assert 0 < len(table) <= self.shard_cells
            for _ in range(2):
                job.work(table, outcomes.merge, shard_name(table))
            self.shards.append(shard_name(table))
        assert (outcomes.cells, len(self.shards) - before) == (job.total, job.shards)
        return outcomes
