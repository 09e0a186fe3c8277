"""Measure false alarms and power of the drift test: `python benchmarks/drift_power.py RECORDS`.

Without drift: batches of 200 queries of a held-out fold against 1,000 of the others. With drift: for every task,
batches of 200 of its queries (all, where it has fewer) against 1,000 queries of the other tasks; and batches of which
half is of it.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from zooter.data import reward_table
from zooter.data.types import Ints
from zooter.router.drift import SIGNIFICANCE_LEVEL, mmd_test
from zooter.router.encoder import Encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--batches", type=int, default=100)
    arguments = parser.parse_args()
    table = reward_table.read(arguments.records, {})
    embeddings = Encoder().embed(table.queries, Path(os.environ.get("ZOOTER_CACHE", "cache")))
    embeddings = embeddings.astype(np.float16).astype(np.float32)
    rng = np.random.default_rng(0)

    def alarm(reference: Ints, batch: Ints, seed: int) -> bool:
        reference, batch = rng.permutation(reference)[:1_000], rng.permutation(batch)[:200]
        return mmd_test(embeddings[reference], embeddings[batch], seed, permutations=199)[1] <= SIGNIFICANCE_LEVEL

    view = Table(title=f"{arguments.records.name}: share of batches with an alarm, p ≤ {SIGNIFICANCE_LEVEL}")
    for heading in ("batch", "batches", "alarms"):
        view.add_column(heading, justify="left" if heading == "batch" else "right")
    false = []
    for k in range(arguments.batches):
        order = rng.permutation(len(embeddings))
        false.append(alarm(order[1_200:], order[:1_200], k))
    view.add_row("the same distribution", f"{arguments.batches}", f"{np.mean(false):.1%}")
    whole, half = [], []
    for j in range(len(table.tags.names)):
        has_task = np.asarray(table.tags.membership[:, [j]].todense()).ravel() > 0
        task, other_rows = np.flatnonzero(has_task), np.flatnonzero(~has_task)
        for k in range(max(1, arguments.batches // 20)):
            whole.append(alarm(other_rows, task, k))
            mixed = np.concatenate([rng.permutation(task)[:100], rng.permutation(other_rows)[:100]])
            half.append(alarm(np.setdiff1d(other_rows, mixed), mixed, k))
    view.add_row("a held-out task", f"{len(whole)}", f"{np.mean(whole):.1%}")
    view.add_row("half of a held-out task", f"{len(half)}", f"{np.mean(half):.1%}")
    Console().print(view)


if __name__ == "__main__":
    main()
