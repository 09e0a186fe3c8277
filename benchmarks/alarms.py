"""How often drift is told where there is none, and found where there is: `python benchmarks/alarms.py RECORDS`.

No drift: batches of 200 queries of a held-out fold against 1,000 of the others. Drift: for every task, batches of 200
of its queries (all, where it has fewer) against 1,000 queries of the other tasks; and batches of which half is of it.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from zooter.data import reward_table
from zooter.data.types import Ints
from zooter.router.drift import ALARM, mmd_test
from zooter.router.encoder import Encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--batches", type=int, default=100)
    told = parser.parse_args()
    table = reward_table.read(told.records, {})
    embeddings = Encoder().embed(table.queries, Path(os.environ.get("ZOOTER_CACHE", "cache")))
    embeddings = embeddings.astype(np.float16).astype(np.float32)
    rng = np.random.default_rng(0)

    def alarm(reference: Ints, batch: Ints, seed: int) -> bool:
        reference, batch = rng.permutation(reference)[:1_000], rng.permutation(batch)[:200]
        return mmd_test(embeddings[reference], embeddings[batch], seed, permutations=199)[1] <= ALARM

    shown = Table(title=f"{told.records.name}: share of batches with an alarm, p ≤ {ALARM}")
    for heading in ("batch", "batches", "alarms"):
        shown.add_column(heading, justify="left" if heading == "batch" else "right")
    false = []
    for k in range(told.batches):
        order = rng.permutation(len(embeddings))
        false.append(alarm(order[1_200:], order[:1_200], k))
    shown.add_row("the same distribution", f"{told.batches}", f"{np.mean(false):.1%}")
    whole, half = [], []
    for j in range(len(table.tags.names)):
        of = np.asarray(table.tags.membership[:, [j]].todense()).ravel() > 0
        task, others = np.flatnonzero(of), np.flatnonzero(~of)
        for k in range(max(1, told.batches // 20)):
            whole.append(alarm(others, task, k))
            mixed = np.concatenate([rng.permutation(task)[:100], rng.permutation(others)[:100]])
            half.append(alarm(np.setdiff1d(others, mixed), mixed, k))
    shown.add_row("a held-out task", f"{len(whole)}", f"{np.mean(whole):.1%}")
    shown.add_row("half of a held-out task", f"{len(half)}", f"{np.mean(half):.1%}")
    Console().print(shown)


if __name__ == "__main__":
    main()
