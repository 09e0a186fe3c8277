"""Measure false alarms and power of the drift test: `python benchmarks/drift_power.py RECORDS`.

Without drift: batches of 200 queries of a held-out fold against a router trained on the others; and batches of one task
of which training had queries too. With drift: for every task, batches of 200 of its queries (all, where it has fewer)
against a router trained on the other tasks; and batches of which half is of it.
`--trained int8` measures routers trained on embeddings in int8, whose batches are embedded in float32 (`infer.py
mode=drift`), as is what an export of them keeps; `--kept int8` is what it would be without that. `--size` takes batches
of up to that many queries.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from zooter.data import reward_table
from zooter.data.types import Ints, Tags
from zooter.router.drift import SIGNIFICANCE_LEVEL, mmd_test, nearest_centroids
from zooter.router.encoder import Encoder
from zooter.router.export import stratified_reference


@dataclass(frozen=True)
class DriftTest:
    """Tests of batches of a table's queries against others of them.

    Attributes:
        references: (n, e) embeddings that a router was trained on.
        kept: (n, e) embeddings of the same queries, of which an export keeps some.
        embeddings: (n, e) embeddings of the same queries in batches.
        size: queries of a batch, at most.
        rng: draws them.
    """

    references: NDArray[np.float32]
    kept: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    size: int
    rng: np.random.Generator

    def alarm(self, reference: Ints, batch: Ints, seed: int) -> bool:
        """Test a batch against the reference that an export of a training on these rows keeps."""
        batch = self.rng.permutation(batch)[: self.size]
        kept = stratified_reference(self.references[reference], seed, lambda rows: self.kept[reference[rows]])
        strata = kept.strata, nearest_centroids(self.embeddings[batch], kept.centroids)
        test = mmd_test(kept.embeddings, self.embeddings[batch], seed, permutations=199, strata=strata)
        return test.p_value <= SIGNIFICANCE_LEVEL

    def same_distribution(self, batches: int) -> list[bool]:
        """Draw 1,200 queries for each batch and train on the others."""
        orders = [self.rng.permutation(len(self.embeddings)) for _ in range(batches)]
        return [self.alarm(order[1_200:], order[:1_200], k) for k, order in enumerate(orders)]

    def tasks(self, tags: Tags, batches: int) -> dict[str, list[bool]]:
        """Test batches of each task, some for each."""
        alarms: dict[str, list[bool]] = {
            "a task that training had too": [], "a held-out task": [], "half of a held-out task": [],
        }  # fmt: skip
        retrained, whole, half = alarms.values()
        for j in range(len(tags.names)):
            has_task = np.asarray(tags.membership[:, [j]].todense()).ravel() > 0
            task, others = np.flatnonzero(has_task), np.flatnonzero(~has_task)
            for k in range(batches):
                whole.append(self.alarm(others, task, k))
                if len(task) >= 100:  # half of the task is trained on, at most 100 queries beside all of the others
                    order = self.rng.permutation(task)
                    first, second = order[: len(order) // 2][:100], order[len(order) // 2 :]
                    retrained.append(self.alarm(np.concatenate([others, first]), second, k))
                mixed = np.concatenate([self.rng.permutation(task)[:100], self.rng.permutation(others)[:100]])
                half.append(self.alarm(np.setdiff1d(others, mixed), mixed, k))
        return alarms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--size", type=int, default=200)
    for name in ("--trained", "--kept"):
        parser.add_argument(name, choices=("float32", "int8"), default="float32")
    parser.add_argument("--same", action="store_true", help="test batches of the same distribution alone")
    arguments = parser.parse_args()
    table = reward_table.read(arguments.records, {})
    cache = Path(os.environ.get("ZOOTER_CACHE", "cache"))
    references, kept, embeddings = (
        Encoder(precision=precision).embed(table.queries, cache).astype(np.float16).astype(np.float32)
        for precision in (arguments.trained, arguments.kept, "float32")
    )
    test = DriftTest(references, kept, embeddings, arguments.size, np.random.default_rng(0))
    alarms = {"the same distribution": test.same_distribution(arguments.batches)}
    if not arguments.same:
        alarms |= test.tasks(table.tags, max(1, arguments.batches // 20))
    view = Table(title=f"{arguments.records.name}: share of batches with an alarm, p ≤ {SIGNIFICANCE_LEVEL}")
    for heading in ("batch", "batches", "alarms"):
        view.add_column(heading, justify="left" if heading == "batch" else "right")
    for name, results in alarms.items():
        view.add_row(name, f"{len(results)}", f"{np.mean(results):.1%}")
    Console().print(view)


if __name__ == "__main__":
    main()
