"""Measure how many labels routing needs: `python benchmarks/little_data.py RECORDS [--sizes 50 100 …] [--draws 4]`.

For each size, draws of that many training queries, each judged on all queries of one held-out fold: the default, kNN,
and the single model that the few queries show to be best. Shares of the gap are from the model that all training
queries show to be best, so with few queries also "best single" is below 0.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from new_task import expected_rewards
from quality import fold_of, limit_output, load_data
from rich.console import Console
from rich.table import Table
from rivals import knn_regression

from zooter.commands.train_settings import TrainSettings
from zooter.data.split import Part
from zooter.data.types import Floats
from zooter.metrics import baselines, routing
from zooter.training.method import TrainingData

SIZES = (50, 100, 200, 500, 1_000, 2_000, 4_900)


def shares(data: TrainingData, settings: TrainSettings, part: Part, size: int, seed: int) -> dict[str, float]:
    """Compute each method's share of the gap closed on the test queries, trained on `size` of the others."""
    others = np.concatenate([part.train, part.val])
    rows = np.sort(np.random.default_rng(seed).permutation(others)[:size])
    rewards = data.records.rewards
    train_rewards, test = rewards.take(rows), rewards.take(part.test)
    order = baselines.rank_by_mean_reward(train_rewards)
    preferences: dict[str, Floats] = {
        "best single": baselines.preference_from_order(order, len(part.test)),
        "kNN": knn_regression(fold_of(data, Part(rows, rows[:0], part.test), seed)),
        "default": expected_rewards(data, settings, rows, train_rewards, part.test),
    }
    best = baselines.rank_by_mean_reward(rewards.take(others))[0]
    choices = {name: routing.best_candidates(p, test.observed, order) for name, p in preferences.items()}
    row_numbers = np.arange(len(part.test))
    oracle, base = np.nanmax(test.values, axis=1), test.values[:, best]
    return {
        name: float(routing.gap_closed(test.values[row_numbers, columns].mean(), base.mean(), oracle.mean()))
        for name, columns in choices.items()
    } | {"routes": float((choices["default"] != order[0]).any())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--seed", type=int, default=100, help="of the first draw; 0 to 13 were used to choose settings")
    arguments = parser.parse_args()
    limit_output()
    view = Table(title=f"{arguments.records.name}, {arguments.draws} draws: share of the gap closed, %")
    names = ("best single", "kNN", "default")
    for heading in ("queries", *names, "default − best single, worst", "routes"):
        view.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        data, settings = load_data(arguments.records.resolve(), Path(folder), "0")
        parts = settings.split.parts(data.records.queries, 5)
        for size in arguments.sizes:
            draws = [
                shares(data, settings, parts[draw % 5], size, arguments.seed + draw) for draw in range(arguments.draws)
            ]
            mean = {name: np.mean([draw_shares[name] for draw_shares in draws]) for name in draws[0]}
            worst = min(draw_shares["default"] - draw_shares["best single"] for draw_shares in draws)
            cells = [f"{100 * mean[name]:.1f}" for name in names]
            view.add_row(f"{size:,}", *cells, f"{100 * worst:.1f}", f"{mean['routes']:.0%}")
            Console(stderr=True).print(size, mean)
    Console(width=120).print(view)


if __name__ == "__main__":
    main()
