"""How much of the gap to the oracle repeats: `python benchmarks/luck.py RECORDS`.

On queries that were scored twice for every candidate, the best candidate of one scoring (the stronger one wins ties) is
judged by the other: what it earns over the best single model can be earned again, the rest of the oracle's lead was
luck. Intervals are bootstraps over these queries; tags are listed that have ten of them or more.
"""

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from zooter import baseline, metric, records
from zooter.types import Floats, Ints


def twice(table: records.Records) -> tuple[Ints, Floats, Floats]:
    """Queries with samples 0 and 1 of every candidate, and the rewards (k, m) of both."""
    found = np.full((2, *table.rewards.values.shape), np.nan)
    cells = table.samples
    for sample in (0, 1):
        of = cells.sample == sample
        found[sample, cells.query[of], cells.candidate[of]] = cells.reward[of]
    rows = np.flatnonzero(np.isfinite(found).all(axis=(0, 2)))
    return rows, found[0, rows], found[1, rows]


def gains(first: Floats, second: Floats, order: Ints) -> tuple[Floats, Floats]:
    """(k,) the oracle's lead over the best single model on the same scoring, and on the other one."""
    lines, single = np.arange(len(first)), order[0]
    same, other = np.zeros(len(first)), np.zeros(len(first))
    for a, b in ((first, second), (second, first)):
        best = metric.choose(a, np.isfinite(a), order)
        same += (a[lines, best] - a[:, single]) / 2.0
        other += (b[lines, best] - b[:, single]) / 2.0
    return same, other


def main(path: Path) -> None:
    table = records.read(path, {})
    rows, first, second = twice(table)
    if not len(rows):
        raise SystemExit("no query has two samples of every candidate")
    same, other = gains(first, second, baseline.strength(table.rewards))
    shown = Table(title=f"{path.name}: {len(rows)} of {len(table.queries):,} queries were scored twice")
    for heading in ("tag", "queries", "cells that differ", "oracle's gap", "of it repeats", "share", "95 %"):
        shown.add_column(heading, justify="left" if heading == "tag" else "right")
    member = table.tags.take(rows).membership.toarray() > 0
    groups = {"all": np.ones(len(rows), dtype=bool)}
    groups |= {name: member[:, j] for j, name in enumerate(table.tags.names) if member[:, j].sum() >= 10}
    for name, of in groups.items():
        low, high = metric.paired_bootstrap(np.stack([other[of], same[of]]), lambda o, s: np.asarray([o / s]))
        shown.add_row(
            name, str(of.sum()), f"{np.mean(first[of] != second[of]):.1%}", f"{same[of].mean():.3f}",
            f"{other[of].mean():.3f}", f"{other[of].mean() / same[of].mean():.0%}", f"{low[0]:.0%}…{high[0]:.0%}",
        )  # fmt: skip
    Console().print(shown)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
