"""Simulate a large run on a cluster: `python benchmarks/ray_scaling.py [CANDIDATES] [SECONDS] [WORKERS…]`.

Workers are simulated: each sleeps SECONDS in place of the 1,400 that a GPU takes for a shard, then stores its 10,000
cells. All else is the run's own code: the driver makes tables of made-up queries of 800 letters and cuts them into
shards, Ray Data hands them to actors, and the cluster's state counts, as parts are written and merged. Up to 8 workers
are a process each; more are threads of 8 processes. The last number of workers gets 10⁷ queries for each of CANDIDATES
candidates, the others what they answer in about 20 shards each. Start-up is not counted.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

os.environ |= {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(Path(__file__).parent)])

from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.engine.protocol import Job, Report
from zooter.collect.engine.ray import ActorPool, RayEngine
from zooter.data.shards import KEY
from zooter.data.store import Store, shard_of

SHARD, QUERIES = 10_000, 10_000_000
GPU_SECONDS = 1_400  # of a shard: 200 tokens in and 400 out per cell (benchmarks/cluster_cost.py)
QUERY_LETTERS, PROCESSES, ROUNDS = 800, 8, 20
DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


@dataclass(frozen=True)
class SimulatedWork:
    """Sleep, then store the cells of a shard, and note when each began and ended."""

    folder: Path
    seconds: float

    def __call__(self, cells: pa.Table, report: Report, shard: str | None) -> None:
        began, cpu_began = time.time(), time.thread_time()
        store = Store(self.folder / "cells").within(cells["candidate"][0].as_py())
        with shard_of(cells, [store], shard) as missing:
            time.sleep(self.seconds)
            store.append_part(missing.select([KEY]).append_column("text", pa.repeat("text", len(missing))), str(shard))
            report(Outcomes(len(missing)))
        with (self.folder / "times.log").open("a") as file:
            file.write(f"{began} {time.time()} {time.thread_time() - cpu_began}\n")


def tables(shards: int) -> Iterator[pa.Table]:
    """Make shards of missing cells, as `respond` does: keys, and the texts of queries."""
    rng = np.random.default_rng(0)
    texts = pa.repeat("x" * QUERY_LETTERS, SHARD).cast(pa.large_string())
    offsets = pa.py_buffer(np.arange(0, SHARD * 32 + 1, 32, dtype=np.int32))
    for number in range(shards):
        digits = DIGITS[rng.integers(16, size=SHARD * 32, dtype=np.uint8)]
        keys = pa.StringArray.from_buffers(SHARD, offsets, pa.py_buffer(digits))
        names = pa.repeat(f"candidate{number * SHARD // QUERIES}", SHARD)
        yield pa.table({KEY: keys, "candidate": names, "query": texts, "attempts": np.zeros(SHARD, dtype=np.int64)})


@dataclass(frozen=True)
class Measured:
    """What a simulation took: shards per second once started, and seconds of CPU per shard."""

    seconds: float
    rate: float
    driver_cpu: float
    worker_cpu: float


def simulate(workers: int, shards: int, seconds: float) -> Measured:
    """Run shards through an engine."""
    import ray.data

    processes, strategy = min(workers, PROCESSES), ray.data.ActorPoolStrategy

    def share_processes(min_size: int, max_size: int) -> ray.data.ActorPoolStrategy:
        """Run the actors of the pool as threads of a few processes."""
        threads = max_size // processes
        return strategy(
            min_size=processes, max_size=processes, max_concurrent_calls_per_actor=threads,
            enable_true_multi_threading=True,
        )  # fmt: skip

    with tempfile.TemporaryDirectory() as name, patch.object(ray.data, "ActorPoolStrategy", share_processes):
        folder = Path(name)
        engine = RayEngine(shard_cells=SHARD, pools={"respond": ActorPool(workers, workers, num_cpus=0.01)})
        started, cpu_started = time.perf_counter(), time.process_time()
        job = Job("asking", "respond", SimulatedWork(folder, seconds), shards * SHARD, shards)
        outcomes = engine.run(job, tables(shards))
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        if outcomes.cells != shards * SHARD or len(list((folder / "cells").rglob("*.parquet"))) != shards:
            raise SystemExit(f"{outcomes.cells:,} cells in {shards:,} shards")
        times = np.loadtxt(folder / "times.log", ndmin=2)
    rate = shards / (times[:, 1].max() - times[:, 0].min())
    return Measured(wall, rate, cpu / shards, float(times[:, 2].mean()))


def main(candidates: int, seconds: float, workers: list[int]) -> None:
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=2)
    view = Table(title=f"a shard of {SHARD:,} cells in {seconds:g} s")
    for heading in ("workers", "shards", "seconds", "shards/s", "of ideal", "ms of CPU: driver", "worker"):
        view.add_column(heading, justify="right")
    for count in workers:
        shards = candidates * QUERIES // SHARD if count == workers[-1] else ROUNDS * count
        measured = simulate(count, shards, seconds)
        view.add_row(
            str(count), f"{shards:,}", f"{measured.seconds:.0f}", f"{measured.rate:.2f}",
            f"{measured.rate * seconds / count:.0%}", f"{1_000 * measured.driver_cpu:.0f}",
            f"{1_000 * measured.worker_cpu:.0f}",
        )  # fmt: skip
        Console().print(view)
    ray.shutdown()
    Console().print(
        f"With the driver's CPU of the last row, a driver on one core keeps {GPU_SECONDS / measured.driver_cpu:,.0f} "
        f"GPUs busy, of {GPU_SECONDS:,} s a shard. Its peak memory: "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB."
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        int(given[0]) if given else 10,
        float(given[1]) if len(given) > 1 else 2.0,
        [int(number) for number in given[2:]] or [1, 2, 4, 8, 64],
    )
