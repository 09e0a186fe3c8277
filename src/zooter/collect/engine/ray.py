"""Run the stages on a Ray cluster: one Ray Data job for each stage.

A job maps the numbers of shards over a pool of actors. The driver makes shards as they are needed, candidate after
candidate, and each actor writes its shard into the cell store, part after part. The store is the checkpoint: Ray
repeats the shards of an actor or a node that died, and a repeated shard asks only for cells that none of its parts
holds. What comes back to the driver is one row per shard.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from typing import Any

import pyarrow as pa
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from zooter.collect import progress
from zooter.collect.engine.cluster_state import ClusterState
from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.engine.protocol import Job
from zooter.collect.engine.ray_shards import offering
from zooter.collect.engine.ray_worker import ShardWorker
from zooter.data.component import PathField, component
from zooter.errors import ConfigError

POLL_SECONDS = 1.0  # between two looks at the cluster's counts
SHARDS_AHEAD = 3  # for each actor: more than Ray Data hands to one at a time, or all could wait for shards not made yet


@component
class ActorPool:
    """The actors of one stage.

    Attributes:
        least: actors that are started at once.
        most: actors that Ray may start while shards are waiting.
        num_cpus: CPUs that each actor holds; a fraction shares one.
        num_gpus: GPUs that each actor holds; a fraction shares one.
    """

    least: PositiveInt = 1
    most: PositiveInt = 8
    num_cpus: NonNegativeFloat = 1.0
    num_gpus: NonNegativeFloat = 0.0

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ConfigError(
                expected="a pool with least ≤ most", found=f"least={self.least}, most={self.most}", do="correct one"
            )


@component
class RayEngine:
    """Map a stage's work over actors of a Ray cluster.

    API keys are read from the environment of the nodes: components hold the names of the variables only.

    Attributes:
        address: of a running cluster; "local" starts Ray here; None takes RAY_ADDRESS, or a Ray that runs here, or
            else starts one.
        num_cpus: CPUs of a Ray that is started here; None takes all.
        object_store_bytes: its memory for objects; None leaves it to Ray.
        shard_cells: cells of a shard: what an actor gets at a time.
        pools: stage ("respond", "reward", "tag", "embed") → its actors.
        progress: file that gets the cluster's counts as JSON lines; None writes none.
    """

    address: str | None = None
    num_cpus: PositiveInt | None = None
    object_store_bytes: NonNegativeInt | None = None
    shard_cells: PositiveInt = 10_000
    pools: Mapping[str, ActorPool] = field(default_factory=dict)
    progress: PathField | None = None

    def run(self, job: Job, tables: Iterable[pa.Table]) -> Outcomes:
        """Run one Ray Data job, while another thread makes its tables.

        Raises:
            ConfigError: Ray is not installed.
            ZooterError: as the work does, on whichever node.
        """
        ray = self._connect()
        node = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )  # the driver's node: without the driver there is nothing to count
        state = ray.remote(ClusterState).options(num_cpus=0, scheduling_strategy=node).remote(job.max_failures)
        pool = self.pools.get(job.stage, ActorPool())
        ahead = SHARDS_AHEAD * min(pool.most, job.shards)
        with self._watch(ray, state, job), offering(ray, state, tables, ahead):
            _map_shards(ray, state, job, pool)
        return ray.get(state.get_outcomes.remote())

    def _connect(self) -> Any:
        """Import Ray, and connect to the cluster unless this process already is."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers otherwise
        try:
            import ray
            import ray.data
            import ray.util.scheduling_strategies
        except ImportError as error:
            raise ConfigError(
                expected="Ray, for engine=ray", found=str(error), do="pip install 'zooter[ray]', or set engine=local"
            ) from error
        if not ray.is_initialized():
            here = {"num_cpus": self.num_cpus, "object_store_memory": self.object_store_bytes}
            given: dict[str, Any] = {name: value for name, value in here.items() if value is not None}
            try:
                ray.init(address=self.address, include_dashboard=False if given else None, log_to_driver=False, **given)
            except (ConnectionError, ValueError) as error:
                raise ConfigError(
                    expected="to connect to a Ray cluster, or to start Ray here",
                    found=str(error).splitlines()[0],
                    do="correct engine.address or RAY_ADDRESS; engine.address=local starts another beside it",
                ) from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # the cluster's own counts are reported
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        return ray

    @contextmanager
    def _watch(self, ray: Any, state: Any, job: Job) -> Iterator[None]:
        """Show the cluster's counts, and write them as JSON lines, while the context is open."""
        start, reported, ended = time.monotonic(), Outcomes(), threading.Event()

        def show(advance: progress.Advance) -> None:
            """Show what has happened since the last call."""
            nonlocal reported, start
            latest, in_flight = ray.get(state.get_counts.remote())
            if not (latest.cells or in_flight):
                start = time.monotonic()  # actors are starting: rates would be too low, and the time left too long
            advance(
                latest.cells - reported.cells,
                latest.spending.dollars - reported.spending.dollars,
                latest.failed - reported.failed,
            )
            reported = latest
            if self.progress is not None:
                seconds = max(time.monotonic() - start, POLL_SECONDS)
                line = progress.describe(job.title, job.total, latest, in_flight, seconds)
                self.progress.parent.mkdir(parents=True, exist_ok=True)
                with self.progress.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")

        def poll(advance: progress.Advance) -> None:
            """Show the counts once a second, and once more when the job has ended, however it did."""
            is_last = False
            while not is_last:
                is_last = ended.wait(POLL_SECONDS)
                show(advance)

        with progress.progress_bar(job.title, job.total) as advance:
            thread = threading.Thread(target=poll, args=(advance,), daemon=True)
            thread.start()
            try:
                yield
            finally:
                ended.set()
                thread.join(10 * POLL_SECONDS)


def _map_shards(ray: Any, state: Any, job: Job, pool: ActorPool) -> None:
    """Map the work over the numbers of all shards, and wait for all of them."""
    numbers = [pa.table({"shard": [number]}) for number in range(job.shards)]
    results = ray.data.from_blocks(numbers).map_batches(
        ShardWorker,
        fn_constructor_args=(job.work, state),
        batch_size=None,  # a block, that is, a shard
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=min(pool.least, job.shards), max_size=min(pool.most, job.shards)),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus,
    )
    try:
        for _ in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            pass
    except ray.exceptions.RayError:  # the work's own error is text in it
        if (error := ray.get(state.get_error.remote())) is not None:
            raise error from None
        raise
