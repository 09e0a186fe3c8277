"""Measure labels and report of a made-up table of 1,000,000 queries × 6 candidates: `python benchmarks/scale.py`.

Prints seconds and peak memory. Rewards depend on the tag; embeddings are the tag's centre plus noise. One in five
queries is tested on, as by default.
"""

import resource
import sys
import time

import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.table import Table
from scipy.special import softmax

from zooter.data.types import Rewards, Tags
from zooter.evaluation import router_metrics
from zooter.training.labels import TagSmoothing

CANDIDATES = tuple("abcdef")
TAGS, DIMENSIONS = 200, 384


def main(n: int) -> None:
    rng = np.random.default_rng(0)
    tag = rng.integers(TAGS, size=n)
    means = rng.uniform(0.2, 0.8, (TAGS, len(CANDIDATES)))
    values = (rng.random((n, len(CANDIDATES))) < means[tag]).astype(float)
    values[rng.random(values.shape) < 0.05] = np.nan
    values[np.isnan(values).all(axis=1), 0] = 1.0
    embeddings = rng.standard_normal((TAGS, DIMENSIONS), dtype=np.float32)[tag]
    embeddings += rng.standard_normal(embeddings.shape, dtype=np.float32)
    rewards = Rewards(values, CANDIDATES)
    member = sp.csr_array((np.ones(n), (np.arange(n), tag)), shape=(n, TAGS))
    tags = Tags(member, tuple(f"tag {j}" for j in range(TAGS)))
    test = rng.random(n) < 0.2
    rows = np.flatnonzero(~test), np.flatnonzero(test)

    seconds = {}
    started = time.perf_counter()
    prior = TagSmoothing(beta=0.3).fit(rewards.take(rows[0]), tags.take(rows[0]))
    prior.label(rewards, tags)
    seconds["labels"] = time.perf_counter() - started
    probs = softmax(means[tag[rows[1]]] / 0.1, axis=1)
    outcome = router_metrics.evaluate_router(
        probs,
        prior,
        (embeddings[rows[0]], embeddings[rows[1]]),
        (rewards.take(rows[0]), rewards.take(rows[1])),
        (tags.take(rows[0]), tags.take(rows[1])),
    )
    seconds["selections"] = time.perf_counter() - started - seconds["labels"]
    summary = router_metrics.summarise(outcome)
    seconds["all"] = time.perf_counter() - started
    seconds["report"] = seconds["all"] - seconds["labels"] - seconds["selections"]

    table = Table(title=f"{n:,} queries × {len(CANDIDATES)} candidates, {TAGS} tags")
    for name in (*seconds, "peak GiB", "gap closed"):
        table.add_column(name, justify="right")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    table.add_row(*(f"{s:.1f} s" for s in seconds.values()), f"{peak:.1f}", f"{summary['gap_closed']:.1%}")
    Console().print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
