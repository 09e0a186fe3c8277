"""Kill workers, nodes and drivers of a live run on a Ray cluster: `python benchmarks/faults.py [QUERIES] [KILLS]`.

Two of the embedded candidates answer 10,000 queries each, on a head and four nodes of one CPU, here. Half of the kills
are of workers (kill −9), the others of nodes and of the driver, at random moments; a killed driver is started again.
At the end the recorded table has to be that of an undisturbed run byte for byte (sorted, without the seconds that
responses took), no stored cell may have been asked again, and none may be lost: have no response.
"""

import hashlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support import ray_faults
from support.paths import ROOT
from support.ray_faults import STORE_BYTES, Disturber, logged_calls

NODES, SHARDS = 4, 50
VICTIMS = ("worker", "node", "worker", "driver")


def count_kills(kills: Sequence[str]) -> str:
    """Say how many workers, nodes and drivers were killed."""
    return " + ".join(str(kills.count(name)) for name in ("worker", "node", "driver"))


def digest(table: pa.Table) -> str:
    """Hash all bytes of a table's columns."""
    with pa.BufferOutputStream() as sink:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        return hashlib.sha256(sink.getvalue()).hexdigest()


def main(queries: int, kills: int) -> None:
    os.environ |= {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES) for _ in range(NODES)]
    shard_cells = max(1, 2 * queries // SHARDS)
    view = Table(title=f"{2 * queries:,} cells in shards of {shard_cells:,}, {NODES} nodes")
    for heading in ("run", "seconds", "workers + nodes + drivers killed", "calls", "asked again", "lost", "SHA-256"):
        view.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as temporary:
        for name, victims in (("undisturbed", []), ("disturbed", [VICTIMS[i % 4] for i in range(kills)])):
            folder = Path(temporary) / name
            folder.mkdir()
            disturber = Disturber(cluster, folder, (queries, shard_cells, True), random.Random(0), nodes=nodes)
            started = time.perf_counter()
            disturber.run(victims, longest_wait=5.0, deadline=7_200)
            seconds, calls = time.perf_counter() - started, logged_calls(folder)
            table = ray_faults.table(folder)
            again = sum(line.endswith("again") for line in calls)
            view.add_row(
                name, f"{seconds:.0f}", count_kills(disturber.kills), f"{len(calls):,}", str(again),
                str(2 * queries - len(table) + table["response"].null_count), digest(table)[:8],
            )  # fmt: skip
    cluster.shutdown()
    Console().print(view)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, int(sys.argv[2]) if len(sys.argv) > 2 else 20)
