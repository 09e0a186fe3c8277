"""Measure the memory of `zooter.fit` on made-up tables of growing size: `python benchmarks/fit_scale.py 10000 100000`.

Each table is Parquet with three candidates, ten tags and texts of some 100 characters. Its embeddings (384 numbers
each, random around the tag's centre) stand in the cache beforehand, as if an encoder had computed them. Prints seconds
and the peak of memory that the operating system cannot take away (RssAnon, of Linux): mapped files are not in it.
"""

import logging
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import zooter
from zooter.data.shards import KEY
from zooter.router.encoder import Encoder, embedding_keys
from zooter.training import closed_form
from zooter.training.recipe import FrozenRecipe

CANDIDATES, TAGS, DIMENSIONS = ("a", "b", "c"), 10, 384
BATCH = 50_000  # queries that are made up at a time
WORDS = ("solve", "translate", "summary", "poem", "proof", "court", "recipe", "sonnet", "planet", "budget")


def main(sizes: list[int]) -> None:
    print(f"{'queries':>12} {'seconds':>9} {'peak':>10} {'a further query':>17}")
    before: tuple[int, float] | None = None
    for rows in sizes:  # a process each, so that none has the memory of another
        command = [sys.executable, __file__, "--one", str(rows)]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        seconds, peak = map(float, printed.splitlines()[-1].split())
        growth = "" if before is None else f"{(peak - before[1]) / (rows - before[0]):,.0f} bytes"
        print(f"{rows:12,} {seconds:7.0f} s {peak / 2**20:6,.0f} MiB {growth:>17}", flush=True)
        before = rows, peak


def measure(rows: int) -> None:
    """Train once; print seconds and peak bytes."""
    logging.disable(logging.WARNING)
    closed_form.LBFGS_STEPS = 2  # more take time, not memory
    encoder = Encoder(layers=(6,))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_up(folder, rows, encoder)
        peak = [anonymous_bytes()]
        threading.Thread(target=watch, args=(peak,), daemon=True).start()
        started = time.perf_counter()
        run = zooter.fit(
            folder / "table.parquet", encoder=encoder, cache_dir=folder / "cache", onnx=False, run_dir=folder / "run",
            net=FrozenRecipe(clusterings=0, epochs=1),
        )  # fmt: skip
        assert run.report["test"]["routed"] > run.report["test"]["best_single"], "tags tell who is best"
        print(time.perf_counter() - started, peak[0])


def make_up(folder: Path, rows: int, encoder: Encoder) -> None:
    """Write the table, and the embeddings into the cache, some thousands at a time."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((TAGS, DIMENSIONS), dtype=np.float32)
    means = rng.uniform(0.2, 0.8, (TAGS, len(CANDIDATES)))
    store, writer = encoder.store(folder / "cache"), None
    for start in range(0, rows, BATCH):
        tag = rng.integers(TAGS, size=min(BATCH, rows - start))
        texts = [f"{WORDS[j]} number {start + i}: " + f"{WORDS[j]} " * 10 for i, j in enumerate(tag)]
        vectors = centres[tag] + rng.standard_normal((len(tag), DIMENSIONS), dtype=np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
        store.append(pa.table({KEY: embedding_keys(texts), "vector": column}))
        rewards = (rng.random((len(tag), len(CANDIDATES))) < means[tag]).astype(float)
        cells = pa.table(
            {
                "query": np.repeat(texts, len(CANDIDATES)),
                "candidate": list(CANDIDATES) * len(tag),
                "reward": rewards.ravel(),
                "tags": [[WORDS[j]] for j in np.repeat(tag, len(CANDIDATES))],
            }
        )
        writer = writer or pq.ParquetWriter(folder / "table.parquet", cells.schema)
        writer.write_table(cells)
    assert writer is not None
    writer.close()


def watch(peak: list[int]) -> None:
    """Keep the largest memory so far."""
    while True:
        peak[0] = max(peak[0], anonymous_bytes())
        time.sleep(0.02)


def anonymous_bytes() -> int:
    """Return the bytes of this process in memory that belong to no file."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        measure(int(sys.argv[2]))
    else:
        main([int(size) for size in sys.argv[1:]] or [10_000, 100_000, 1_000_000])
