"""Measure a table whose candidates answered different queries: `python benchmarks/missing_cells.py RECORDS`.

Of the candidates that answered nearly every query, half lose all their training rewards on some of the tags. Choices
are judged on test queries on which every candidate has a reward: a router that expects of a candidate on hard queries
what it earned on easy ones loses there, which a table's own missing cells would hide. By the default's start.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from new_task import expected_rewards, mean_reward
from quality import limit_output, load_data
from rich.console import Console
from rich.table import Table

from zooter.commands.train_settings import TrainSettings
from zooter.data.types import Floats, Ints, Rewards
from zooter.metrics import baselines
from zooter.training.method import TrainingData

NEARLY_ALL = 0.99  # share of queries that a candidate must have answered
TRAINING_SHARE = 0.56


def hide(values: Floats, tag: Ints, tags: int, rng: np.random.Generator) -> Floats:
    """Hide the rewards (n, m) of half of the candidates on some of the tags (n,), drawn for each."""
    hidden = values.copy()
    for j in rng.permutation(values.shape[1])[: values.shape[1] // 2]:
        hidden[np.isin(tag, rng.permutation(tag.max() + 1)[:tags]), j] = np.nan
    return hidden


def shares(data: TrainingData, settings: TrainSettings, tags: int, seed: int) -> tuple[float, float, float]:
    """Compute the gap closed in %: with all training rewards, with some hidden, by the best single model of these."""
    rewards, rng = data.records.rewards, np.random.default_rng(seed)
    columns = np.flatnonzero(rewards.observed.mean(axis=0) > NEARLY_ALL)
    rows = rng.permutation(np.flatnonzero(rewards.observed[:, columns].all(axis=1)))
    names = tuple(rewards.candidates[j] for j in columns)
    train, test = np.split(rows, [int(TRAINING_SHARE * len(rows))])
    values = rewards.values[:, columns]
    full, tested = Rewards(values[train], names), Rewards(values[test], names)
    tag = data.records.tags.membership.toarray().argmax(axis=1)
    hidden = Rewards(hide(full.values, tag[train], tags, rng), names)
    single, oracle = tested.column_means()[full.column_means().argmax()], tested.values.max(axis=1).mean()
    order = baselines.rank_by_mean_reward(hidden)
    earned = [
        mean_reward(expected_rewards(data, settings, train, known, test), tested, order) for known in (full, hidden)
    ]
    earned.append(float(tested.values[:, order[0]].mean()))
    full_share, hidden_share, single_share = (float(100 * (x - single) / (oracle - single)) for x in earned)
    return full_share, hidden_share, single_share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--hidden", type=int, nargs="*", default=[1, 2], help="tags without rewards of a candidate")
    parser.add_argument("--draws", type=int, default=3)
    arguments = parser.parse_args()
    limit_output()
    view = Table(title=f"{arguments.records.name}, {arguments.draws} draws: share of the gap closed, %")
    for heading in ("hidden tags", "draw", "all rewards", "some hidden", "best single, some hidden"):
        view.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        data, settings = load_data(arguments.records.resolve(), Path(folder), "0")
        for tags in arguments.hidden:
            draws = [shares(data, settings, tags, seed) for seed in range(arguments.draws)]
            for name, row in [*((str(seed), row) for seed, row in enumerate(draws)), ("mean", np.mean(draws, axis=0))]:
                view.add_row(str(tags), name, *(f"{share:.1f}" for share in row))
            view.add_section()
    Console(width=120).print(view)


if __name__ == "__main__":
    main()
