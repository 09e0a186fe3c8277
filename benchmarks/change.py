"""A new task, or a new candidate, joins: `python benchmarks/change.py RECORDS [--only task|candidate]`.

Task: train on the queries of all other tasks and none, 50 or 200 of the one (all but 50 of a small one); judged on the
rest of that task.
Candidate: rewards of one candidate on only some training queries, of the others on all; judged on one held-out fold,
against the candidate's rewards on all queries and on none (it is then never chosen).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from quality import load, quiet
from rich.console import Console
from rich.table import Table

from zooter.commands.train import TrainingData
from zooter.commands.train_settings import TrainSettings
from zooter.data.types import Floats, Ints, Rewards, Tags
from zooter.metrics import baselines, routing
from zooter.training import head_init
from zooter.training.prepare import fit_initial_head, resolve_weights

LEFT = 50  # queries of a task to judge by, at least


def scores(data: TrainingData, given: TrainSettings, rows: Ints, seen: Rewards, test: Ints) -> Floats:
    """(k, m) rewards expected on test queries by the default's start, or the fall-back, learned from some rows."""
    views: list[Tags] = [data.records.tags.take(rows)]
    views.append(head_init.cluster_tags([data.records.queries[i] for i in rows], data.embeddings[rows], given.seed))
    head, _, weights = resolve_weights(
        fit_initial_head(views[0], data.features[rows], seen, views, given.net, given.seed), given.label, given.seed
    )
    if not weights.routes:
        head_init.fall_back_to_best_single(head)
    return np.asarray(head.expected(data.features[test]).detach().double().numpy())


def earned(preference: Floats, test: Rewards, order: Ints) -> float:
    picked = routing.choose(preference, test.observed, order)
    return float(test.values[np.arange(len(picked)), picked].mean())


def new_task(data: TrainingData, given: TrainSettings, sizes: list[int], most: int) -> Table:
    """For each task that has queries to spare, the mean reward on it with more and more of it in training."""
    rewards, tags = data.records.rewards, data.records.tags
    shown = Table(title="a new task: mean reward on its other queries")
    for heading in ("task", "best single of the others", *(f"with {size} of it" for size in sizes), "oracle"):
        shown.add_column(heading, justify="left" if heading == "task" else "right")
    total = []
    for j in range(len(tags.names)):
        of = np.asarray(tags.membership[:, [j]].todense()).ravel() > 0
        task = np.random.default_rng(0).permutation(np.flatnonzero(of))
        if len(task) < LEFT + min(size for size in sizes if size) or len(total) == most:
            continue
        first = min(max(sizes), len(task) - LEFT)
        test, others = task[first:], np.flatnonzero(~of)
        judged = rewards.take(test)
        line = [earned(np.zeros(judged.values.shape), judged, baselines.rank_by_mean_reward(rewards.take(others)))]
        for size in sizes:
            rows = np.concatenate([others, task[: min(size, first)]])
            seen = rewards.take(rows)
            line.append(earned(scores(data, given, rows, seen, test), judged, baselines.rank_by_mean_reward(seen)))
        line.append(float(np.nanmax(judged.values, axis=1).mean()))
        total.append(line)
        shown.add_row(tags.names[j], *(f"{value:.3f}" for value in line))
        Console(stderr=True).print(tags.names[j], line)
    shown.add_row("mean", *(f"{value:.3f}" for value in np.mean(total, axis=0)))
    return shown


def new_candidate(data: TrainingData, given: TrainSettings, sizes: list[int]) -> Table:
    """For each candidate, the share of the gap closed with its rewards on only some training queries."""
    part, rewards = given.split.parts(data.records.queries, 5)[0], data.records.rewards
    rows, judged = np.concatenate([part.train, part.val]), rewards.take(part.test)
    full = rewards.take(rows)
    order = baselines.rank_by_mean_reward(full)
    oracle = float(np.nanmax(judged.values, axis=1).mean())
    single = earned(np.zeros(judged.values.shape), judged, order)
    shown = Table(title="a new candidate: share of the gap closed, %")
    for heading in ("candidate", *(f"{size} rewards" for size in sizes), "all rewards"):
        shown.add_column(heading, justify="left" if heading == "candidate" else "right")
    total = []
    of_all = earned(scores(data, given, rows, full, part.test), judged, order)
    for j, name in enumerate(rewards.candidates):
        line = []
        for size in sizes:
            values = full.values.copy()
            values[np.random.default_rng(j).permutation(len(rows))[size:], j] = np.nan
            preference = scores(data, given, rows, Rewards(values, rewards.candidates), part.test)
            line.append(earned(preference, judged, order))
        total.append([*line, of_all])
        gaps = [float(routing.gap_closed(np.asarray(x), np.asarray(single), np.asarray(oracle))) for x in total[-1]]
        shown.add_row(name, *(f"{100 * gap:.1f}" for gap in gaps))
        Console(stderr=True).print(name, gaps)
    gaps = (np.mean(total, axis=0) - single) / (oracle - single)
    shown.add_row("mean", *(f"{100 * gap:.1f}" for gap in gaps))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--only", choices=("task", "candidate"))
    parser.add_argument("--tasks", type=int, default=100, help="at most")
    parser.add_argument("--rewards", type=int, nargs="*", default=[100, 300, 500], help="that a new candidate has")
    told = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        data, given = load(told.records.resolve(), Path(folder), "0")
        if told.only != "candidate":
            Console(width=140).print(new_task(data, given, [0, 50, 200], told.tasks))
        if told.only != "task":
            Console(width=140).print(new_candidate(data, given, told.rewards))


if __name__ == "__main__":
    main()
