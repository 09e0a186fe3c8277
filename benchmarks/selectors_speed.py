"""Measure time and peak memory of a comparison: `python benchmarks/selectors_speed.py`.

Twelve selectors on 6,000 made-up test queries × 9 candidates × 4 samples, 100 budgets × 3 orders of the
stream. Selectors learn from 660 more. Numbers of the whole process: reading, embedding, fitting, plots and all.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
TOPICS = ("sums", "rhymes", "law", "plants", "dates", "maps")
CANDIDATES, SAMPLES, QUERIES, TEST = 9, 4, 6_660, 0.9
SELECTORS = (
    "single", "random", "per_tag_best", "knn", "predicted", "hybrid", "frugal", "margin", "consistency",
    "self_consistency", "best_of", "oracle",
)  # fmt: skip


def table(path: Path, seed: int = 0) -> None:
    """Write a table: dearer candidates are better, each at its own topic; margins are informative."""
    rng = np.random.default_rng(seed)
    query = np.repeat(np.arange(QUERIES), CANDIDATES * SAMPLES)
    candidate = np.tile(np.repeat(np.arange(CANDIDATES), SAMPLES), QUERIES)
    sample = np.tile(np.arange(SAMPLES), QUERIES * CANDIDATES)
    skill = 0.25 + 0.06 * candidate + 0.25 * (query % len(TOPICS) == candidate % len(TOPICS))
    hardness = rng.normal(0, 0.2, QUERIES)[query]
    correct = rng.random(len(query)) < np.clip(skill - hardness, 0.02, 0.98)
    margin = np.clip(0.3 + 0.3 * correct + rng.normal(0, 0.2, len(query)), 0.0, 1.0)
    answer = np.where(correct, query % 10, rng.integers(0, 10, len(query)))
    columns = {
        "query": [f"question {i} about {TOPICS[i % len(TOPICS)]}" for i in query],
        "candidate": [f"m{j}" for j in candidate],
        "sample": sample,
        "response": [f"It is {a}." for a in answer],
        "reward": (answer == query % 10).astype(float),
        "reference": [str(i % 10) for i in query],
        "tags": [[TOPICS[i % len(TOPICS)]] for i in query],
        "margin": margin,
        "input_tokens": np.full(len(query), 12),
        "output_tokens": np.full(len(query), 4),
        "cost": 1e-5 * (1.0 + candidate) * (0.5 + rng.random(len(query))),
        "seconds": np.full(len(query), 0.2),
    }
    pq.write_table(pa.table(columns), path)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table(folder / "table.parquet")
        arguments = [
            "infer.py", "mode=evaluate", f"selectors=[{','.join(SELECTORS)}]", f"records={folder}/table.parquet",
            f"run_dir={folder}/run", f"cache_dir={folder}/cache", f"split.test={TEST}",
            "selectors.self_consistency.samples=4", "selectors.consistency.samples=2", *sys.argv[1:],
        ]  # fmt: skip
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(status)
        seconds, cpu_seconds = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
        sys.stdout.write(
            f"{seconds:.0f} s, of which {cpu_seconds:.0f} s of processor time; peak {usage.ru_maxrss / 2**20:.2f} GiB\n"
        )


if __name__ == "__main__":
    main()
