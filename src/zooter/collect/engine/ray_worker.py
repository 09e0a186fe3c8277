"""Work on shards in an actor of a Ray cluster."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.engine.protocol import Work
from zooter.collect.responder.client.shared_limit import Exchange, share_limits
from zooter.data.shards import KEY
from zooter.errors import ZooterError

REPORT_SECONDS = 0.5  # between two reports of an actor


def shard_name(cells: pa.Table) -> str:
    """Name a shard by its cells, so that it has the same name whoever works on it.

    The number of failed attempts is part of it: a cell that failed is in another shard when it is tried again.

    Args:
        cells: with the column `key`, and `attempts` where attempts are counted.
    """
    attempts = cells["attempts"].to_pylist() if "attempts" in cells.column_names else []
    payload = repr((cells[KEY].to_pylist(), attempts)).encode()
    return hashlib.blake2b(payload, digest_size=16).hexdigest()


class ShardWorker:
    """Do a stage's work on one shard after the other; Ray Data makes one in each actor.

    Args:
        work: of the stage.
        state: handle of the actor that holds the `ClusterState`.
    """

    def __init__(self, work: Work, state: Any) -> None:
        self.work, self.state = work, state
        share_limits(_exchange_with(state))

    def __call__(self, cells: pa.Table) -> pa.Table:
        """Compute and store the cells of a shard.

        Args:
            cells: the shard.

        Returns:
            One row, with the number of cells.
        """
        import ray

        shard = shard_name(cells)
        ray.get(self.state.start_shard.remote(shard, len(cells)))
        try:
            with _reporting(self.state, shard) as report:
                self.work(cells, report, shard)
        except ZooterError as error:
            ray.get(self.state.stop.remote(error))
            raise
        ray.get(self.state.end_shard.remote(shard))
        return pa.table({"shard": [shard], "cells": [len(cells)]})


def _exchange_with(state: Any) -> Callable[[str, int], Exchange]:
    """Make `share_limits` ask the cluster's state, which the driver owns: a limit outlives every worker."""
    import ray

    process = ray.get_runtime_context().get_worker_id()

    def exchange_of(address: str, concurrency: int) -> Exchange:
        """Return the exchange for one server."""

        async def exchange(in_use: int, wanted: int, pause: float) -> tuple[int, float]:
            """Renew this process's slots."""
            return await state.exchange_slots.remote(address, concurrency, process, in_use, wanted, pause)

        return exchange

    return exchange_of


@contextmanager
def _reporting(state: Any, shard: str) -> Iterator[Any]:
    """Yield a `Report` that sends what has happened to the cluster's state, twice a second at most."""
    import ray

    pending, last = Outcomes(), time.monotonic()

    def send() -> None:
        """Send the latest outcomes; raise when the run has to stop."""
        nonlocal pending, last
        stop = ray.get(state.add.remote(shard, pending))
        pending, last = Outcomes(), time.monotonic()
        if stop is not None:
            raise stop

    def report(latest: Outcomes) -> None:
        """Add the latest outcomes; raise when the run has to stop."""
        pending.merge(latest)
        if time.monotonic() - last >= REPORT_SECONDS:
            send()

    yield report
    send()
