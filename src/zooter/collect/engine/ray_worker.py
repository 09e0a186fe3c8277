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
from zooter.collect.responder.local.model_cache import keep_last_model
from zooter.data.shards import KEY
from zooter.errors import ZooterError

REPORT_SECONDS = 0.5  # between two reports of an actor
WAIT_SECONDS = 0.1  # between two questions for a shard that the driver has not made yet


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
        keep_last_model()

    def __call__(self, shards: pa.Table) -> pa.Table:
        """Compute and store the cells of shards.

        Args:
            shards: their numbers, in the column `shard`.

        Returns:
            One row per shard, with the number of cells.
        """
        numbers = shards["shard"].to_pylist()
        return pa.table({"shard": numbers, "cells": [self._do(number) for number in numbers]})

    def _do(self, number: int) -> int:
        """Compute and store the cells of one shard; return how many there are."""
        import ray

        cells = self._take(number)
        if cells is None:
            return 0
        ray.get(self.state.start_shard.remote(number, len(cells)))
        try:
            with _reporting(self.state, number) as report:
                self.work(cells, report, shard_name(cells))
        except ZooterError as error:
            ray.get(self.state.stop.remote(error))
            raise
        ray.get(self.state.end_shard.remote(number))
        return len(cells)

    def _take(self, number: int) -> pa.Table | None:
        """Wait for the cells of a shard; None where they are done: its actor died after the last of them."""
        import ray

        while (cells := ray.get(self.state.take.remote(number))) is None:
            if (error := ray.get(self.state.get_error.remote())) is not None:
                raise error
            time.sleep(WAIT_SECONDS)
        return ray.get(cells[0]) if cells else None


def _exchange_with(state: Any) -> Callable[[str, int], Exchange]:
    """Make `share_limits` ask the cluster's state, which the driver owns: a limit outlives every worker."""
    import ray

    process = ray.get_runtime_context().get_worker_id()

    def exchange_of(address: str, concurrency: int) -> Exchange:
        """Return the exchange for one server."""

        async def exchange(in_use: int, demand: int, pause: float) -> tuple[int, float]:
            """Renew this process's slots."""
            return await state.exchange_slots.remote(address, concurrency, process, in_use, demand, pause)

        return exchange

    return exchange_of


@contextmanager
def _reporting(state: Any, shard: int) -> Iterator[Any]:
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
