"""Print what tags and β do to the rewards of one test query, and how often the best candidate by each is right.

python benchmarks/smoothing.py RUN [--query TEXT] [--beta 0.3]

RUN is the folder of a run with a truth, such as one of `make run`.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from zooter.data import reward_table
from zooter.data.reward_table import RewardTable
from zooter.data.split import Split
from zooter.data.types import Floats
from zooter.router.loading import load_router
from zooter.training.labels import TagSmoothing

QUERY = "In which country is the capital Paris?"


def main() -> None:
    """Read the run, and print one query's rewards and the shares of all test queries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--query", default=QUERY)
    parser.add_argument("--beta", type=float, default=0.3)
    options = parser.parse_args()
    table = reward_table.read(options.run / "records.parquet")
    if table.truth is None:
        parser.error("the table has no truth")
    settings = json.loads((options.run / "report.json").read_text())["settings"]["split"]
    part = Split(**{key: value for key, value in settings.items() if key != "_target_"}).parts(table.queries)[0]
    prior = TagSmoothing(options.beta).fit(table.rewards.take(part.train), table.tags.take(part.train))
    own, tag_mean = table.rewards.values, prior.average_over_tags(table.tags)
    smoothed = options.beta * own + (1 - options.beta) * tag_mean
    scores = {"own (β = 1)": own, "tag's mean (β = 0)": tag_mean, f"smoothed (β = {options.beta:g})": smoothed}
    row = table.queries.index(options.query) if options.query in table.queries else -1
    if row not in part.test:
        parser.error("the query is not one of the run's test queries")
    console = Console(width=100)
    console.print(rewards_table(options.query, table, row, scores))
    for name, values in scores.items():
        right = table.truth.values[part.test, values[part.test].argmax(axis=1)].mean()
        console.print(f"the best by {name:<18}  is right on {right:.0%} of {len(part.test):,} test queries")
    chosen = load_router(options.run / "export").route([options.query]).chosen_candidates()[0]
    console.print(f"the router, from the text alone, asks {chosen}")


def rewards_table(title: str, table: RewardTable, row: int, scores: Mapping[str, Floats]) -> Table:
    """List the candidates by their smoothed rewards on one query, the best of each column marked."""
    assert table.truth is not None
    view = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    view.add_column("candidate")
    for heading in (*scores, "right"):
        view.add_column(heading, justify="right")
    *_, smoothed = scores.values()
    for j in np.argsort(-smoothed[row]):
        cells = [f"{values[row, j]:.2f}{' ←' if j == values[row].argmax() else '  '}" for values in scores.values()]
        view.add_row(table.pool.names[j], *cells, "yes" if table.truth.values[row, j] else "no")
    return view


if __name__ == "__main__":
    main()
