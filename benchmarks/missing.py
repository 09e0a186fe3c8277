"""Find what is missing among 10⁸ made-up cells: `python benchmarks/missing.py [QUERIES] [CANDIDATES]`.

Stores a tenth of them less than all, in shards of 10,000 (the cells of one candidate each), then finds the missing ones
as `respond` does, candidate after candidate, and cuts them into shards. Prints seconds and peak memory; writing the
store is not counted. The keys are made up: hashing a query's text to its key is measured apart. On a busy machine
most of the seconds may be spent waiting for a free processor, as Linux counts them for this thread.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from zooter.data.content_keys import response_key_array
from zooter.data.shards import KEY
from zooter.data.store import Store
from zooter.data.types import Query

SHARD, STORED, HASHED = 10_000, 0.9, 1_000_000
DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def make_keys(rng: np.random.Generator, count: int) -> pa.Array:
    """Draw keys of 32 hexadecimal digits."""
    digits = DIGITS[rng.integers(16, size=count * 32, dtype=np.uint8)]
    offsets = np.arange(0, count * 32 + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(digits))


def waiting_seconds() -> float:
    """Return how long this thread has waited for a free processor, in seconds."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def main(queries: int, candidates: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, stored = Store(Path(folder)), int(queries * STORED)
        for candidate in range(candidates):
            keys = make_keys(np.random.default_rng(candidate), queries)
            for start in range(0, stored, SHARD):
                cells = pa.table({KEY: keys.slice(start, min(SHARD, stored - start))})
                store.within(f"c{candidate}").append(cells)
        seconds = cpu_seconds = waited = 0.0
        missing = shards = 0
        for candidate in range(candidates):
            keys = make_keys(np.random.default_rng(candidate), queries)
            started, cpu_started, wait_started = time.perf_counter(), time.process_time(), waiting_seconds()
            absent = store.within(f"c{candidate}").missing(keys)
            missing, shards = missing + len(absent), shards + -(-len(absent) // SHARD)
            seconds += time.perf_counter() - started
            cpu_seconds += time.process_time() - cpu_started
            waited += waiting_seconds() - wait_started
    if missing != candidates * (queries - stored):
        raise SystemExit(f"{missing:,} missing")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    texts = [Query(str(i), f"What is {i} plus {i} times {i}?") for i in range(HASHED)]
    started = time.process_time()
    response_key_array({"model": "made up"}, texts, 1)
    hashing = (time.process_time() - started) / HASHED
    view = Table(title=f"{queries:,} queries × {candidates} candidates, {STORED:.0%} stored")
    for heading in ("missing", "shards", "seconds", "of CPU", "waiting for one", "peak GiB", "hashing all keys"):
        view.add_column(heading, justify="right")
    view.add_row(
        f"{missing:,}", f"{shards:,}", f"{seconds:.0f}", f"{cpu_seconds:.0f}", f"{waited:.0f}", f"{peak:.1f}",
        f"{hashing * queries * candidates:.0f} s of CPU",
    )  # fmt: skip
    Console().print(view)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000, int(sys.argv[2]) if len(sys.argv) > 2 else 10)
