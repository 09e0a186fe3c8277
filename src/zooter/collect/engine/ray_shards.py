"""Make shards while the actors of a Ray cluster work on others, so that the driver holds a few of them."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from zooter.collect.engine.ray_worker import WAIT_SECONDS


@contextmanager
def offering(ray: Any, state: Any, tables: Iterable[pa.Table], ahead: int) -> Iterator[None]:
    """Make tables and offer them to the actors while the context is open.

    Args:
        ray: the module.
        state: handle of the actor that holds the `ClusterState`.
        tables: missing cells, a shard each.
        ahead: shards that are offered and not done, at most.
    """
    ended = threading.Event()

    def offer() -> None:
        """Offer each table once there is room for it."""
        for number, table in enumerate(tables):
            ray.get(state.offer.remote(number, [ray.put(table)]))
            while ray.get(state.count_offered.remote()) >= ahead and not ended.wait(WAIT_SECONDS):
                pass
            if ended.is_set():
                return

    def stop_after_error(offered: Future[None]) -> None:
        """Stop the actors when a table cannot be made; the error is raised as if it were theirs."""
        if (error := offered.exception()) is not None:
            state.stop.remote(error)

    with ThreadPoolExecutor(1, "offering") as thread:
        thread.submit(offer).add_done_callback(stop_after_error)
        try:
            yield
        finally:
            ended.set()
