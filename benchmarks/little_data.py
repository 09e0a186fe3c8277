"""How many labelled queries routing needs: `python benchmarks/little_data.py RECORDS [--sizes 50 100 …] [--draws 4]`.

For each size, draws of that many training queries, each judged on all queries of one held-out fold: the default with
its fall-back, the same without, kNN, and the single model that the few queries show to be best. Shares of the gap are
from the model that all training queries show to be best, so with few queries also "best single" is below 0.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from quality import fold_of, load, quiet
from rich.console import Console
from rich.table import Table
from rivals import knn_regression

from zooter.commands.train import TrainingData
from zooter.commands.train_settings import TrainSettings
from zooter.data.split import Part
from zooter.data.types import Floats, Tags
from zooter.metrics import baselines, routing
from zooter.training import head_init
from zooter.training.prepare import fit_initial_head, resolve_weights

SIZES = (50, 100, 200, 500, 1_000, 2_000, 4_900)


def shares(data: TrainingData, given: TrainSettings, part: Part, size: int, seed: int) -> dict[str, float]:
    """Method → share of the gap closed on the test queries, trained on `size` of the others."""
    others = np.concatenate([part.train, part.val])
    rows = np.sort(np.random.default_rng(seed).permutation(others)[:size])
    rewards = data.records.rewards
    seen, test = rewards.take(rows), rewards.take(part.test)
    views: list[Tags] = [data.records.tags.take(rows)]
    views.append(head_init.cluster_tags([data.records.queries[i] for i in rows], data.embeddings[rows], seed))
    head, _, weights = resolve_weights(
        fit_initial_head(views[0], data.features[rows], seen, views, given.net, seed), given.label, seed
    )
    routed = head.expected(data.features[part.test]).detach().double().numpy()
    order = baselines.rank_by_mean_reward(seen)
    single = baselines.preference_from_order(order, len(part.test))
    preferences: dict[str, Floats] = {
        "best single": single,
        "kNN": knn_regression(fold_of(data, Part(rows, rows[:0], part.test), seed)),
        "without fall-back": routed,
        "default": routed if weights.routes else single,
    }
    best = baselines.rank_by_mean_reward(rewards.take(others))[0]
    got = {name: routing.choose(p, test.observed, order) for name, p in preferences.items()}
    lines = np.arange(len(part.test))
    oracle, base = np.nanmax(test.values, axis=1), test.values[:, best]
    return {
        name: float(routing.gap_closed(test.values[lines, picked].mean(), base.mean(), oracle.mean()))
        for name, picked in got.items()
    } | {"routes": float(weights.routes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument(
        "--seed", type=int, default=100, help="of the first draw; 0 to 13 have been looked at in choosing"
    )
    told = parser.parse_args()
    quiet()
    shown = Table(title=f"{told.records.name}, {told.draws} draws: share of the gap closed, %")
    names = ("best single", "kNN", "without fall-back", "default")
    for heading in ("queries", *names, "− best single, worst", "without fall-back", "routes"):
        shown.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        data, given = load(told.records.resolve(), Path(folder), "0")
        parts = given.split.parts(data.records.queries, 5)
        for size in told.sizes:
            found = [shares(data, given, parts[draw % 5], size, told.seed + draw) for draw in range(told.draws)]
            mean = {name: np.mean([one[name] for one in found]) for name in found[0]}
            worst = [min(one[name] - one["best single"] for one in found) for name in ("default", "without fall-back")]
            cells = [f"{100 * mean[name]:.1f}" for name in names]
            shown.add_row(f"{size:,}", *cells, *(f"{100 * w:.1f}" for w in worst), f"{mean['routes']:.0%}")
            Console(stderr=True).print(size, mean)
    Console(width=120).print(shown)


if __name__ == "__main__":
    main()
