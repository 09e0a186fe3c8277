"""Work on shards in an actor of a Ray cluster."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.engine.protocol import Work
from zooter.data.shards import KEY

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
        with _reporting(self.state, shard) as report:
            self.work(cells, report, shard)
        ray.get(self.state.end_shard.remote(shard))
        return pa.table({"shard": [shard], "cells": [len(cells)]})


@contextmanager
def _reporting(state: Any, shard: str) -> Iterator[Any]:
    """Yield a `Report` that sends what has happened to the cluster's state, twice a second at most."""
    import ray

    pending, last = Outcomes(), time.monotonic()

    def send() -> None:
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
