"""Measure a new task or a new candidate: `python benchmarks/new_task.py RECORDS [--only task|candidate]`.

Task: train on the queries of all other tasks and none, 50 or 200 of the one (all but 50 of a small one); judged on the
rest of that task.
Candidate: rewards of one candidate on only some training queries, of the others on all; judged on one held-out fold,
against the candidate's rewards on all queries. Which queries have them is drawn, `--draws` times.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from quality import limit_output, load_data
from rich.console import Console
from rich.table import Table

from zooter.commands.train_settings import TrainSettings
from zooter.data.types import Floats, Ints, Rewards, Tags
from zooter.metrics import baselines, routing
from zooter.training import head_init
from zooter.training.method import TrainingData
from zooter.training.prepare import fit_initial_head, resolve_weights

MIN_TEST_QUERIES = 50  # queries of a task to judge by, at least


def expected_rewards(
    data: TrainingData, settings: TrainSettings, rows: Ints, train_rewards: Rewards, test: Ints
) -> Floats:
    """Predict (k, m) rewards on test queries with the initial fit, or its fall-back, trained on some rows."""
    tag_sets: list[Tags] = [data.records.tags.take(rows)]
    texts = [data.records.queries[i] for i in rows]
    tag_sets += head_init.cluster_tags(texts, data.embeddings[rows], settings.net.clusterings, settings.seed)
    head, _, weights = resolve_weights(
        fit_initial_head(tag_sets[0], data.features[rows], train_rewards, tag_sets, settings.net, settings.seed),
        settings.label,
        settings.seed,
    )
    if not weights.routes:
        head_init.fall_back_to_best_single(head)
    return np.asarray(head.expected_rewards(data.features[test]).detach().double().numpy())


def mean_reward(preference: Floats, test: Rewards, order: Ints) -> float:
    """Average the rewards of the most preferred observed candidates."""
    columns = routing.best_candidates(preference, test.observed, order)
    return float(test.values[np.arange(len(columns)), columns].mean())


def new_task(data: TrainingData, settings: TrainSettings, sizes: list[int], max_tasks: int) -> Table:
    """For each task with enough queries, compare mean rewards on it with more and more of it in training."""
    rewards, tags = data.records.rewards, data.records.tags
    view = Table(title="a new task: mean reward on its other queries")
    for heading in ("task", "best single of the others", *(f"with {size} of it" for size in sizes), "oracle"):
        view.add_column(heading, justify="left" if heading == "task" else "right")
    results = []
    for j in range(len(tags.names)):
        has_task = np.asarray(tags.membership[:, [j]].todense()).ravel() > 0
        task = np.random.default_rng(0).permutation(np.flatnonzero(has_task))
        if len(task) < MIN_TEST_QUERIES + min(size for size in sizes if size) or len(results) == max_tasks:
            continue
        first = min(max(sizes), len(task) - MIN_TEST_QUERIES)
        test, others = task[first:], np.flatnonzero(~has_task)
        test_rewards = rewards.take(test)
        row = [
            mean_reward(
                np.zeros(test_rewards.values.shape), test_rewards, baselines.rank_by_mean_reward(rewards.take(others))
            )
        ]
        for size in sizes:
            rows = np.concatenate([others, task[: min(size, first)]])
            train_rewards = rewards.take(rows)
            row.append(
                mean_reward(
                    expected_rewards(data, settings, rows, train_rewards, test),
                    test_rewards,
                    baselines.rank_by_mean_reward(train_rewards),
                )
            )
        row.append(float(np.nanmax(test_rewards.values, axis=1).mean()))
        results.append(row)
        view.add_row(tags.names[j], *(f"{value:.3f}" for value in row))
        Console(stderr=True).print(tags.names[j], row)
    view.add_row("mean", *(f"{value:.3f}" for value in np.mean(results, axis=0)))
    return view


def new_candidate(data: TrainingData, settings: TrainSettings, sizes: list[int], draws: int) -> Table:
    """For each candidate, compute the share of the gap closed with its rewards on only some training queries.

    Args:
        sizes: numbers of rewards.
        draws: of the queries that have them; cells are means over draws.
    """
    part, rewards = settings.split.parts(data.records.queries, 5)[0], data.records.rewards
    rows, test_rewards = np.concatenate([part.train, part.val]), rewards.take(part.test)
    full = rewards.take(rows)
    order = baselines.rank_by_mean_reward(full)
    oracle = float(np.nanmax(test_rewards.values, axis=1).mean())
    single = mean_reward(np.zeros(test_rewards.values.shape), test_rewards, order)

    def gap_closed(train_rewards: Rewards) -> float:
        """Train on these rewards and compute the share of the gap closed on the test queries, in percent."""
        preference = expected_rewards(data, settings, rows, train_rewards, part.test)
        return 100.0 * (mean_reward(preference, test_rewards, order) - single) / (oracle - single)

    title = f"a new candidate: share of the gap closed, %, {draws} draws"
    view = Table(title=f"{title}; with all rewards {gap_closed(full):.1f}")
    for heading in ("candidate", *(f"{size} rewards" for size in sizes)):
        view.add_column(heading, justify="left" if heading == "candidate" else "right")
    gaps = np.empty((len(rewards.candidates), draws, len(sizes)))
    for j, name in enumerate(rewards.candidates):
        for draw, k in np.ndindex(draws, len(sizes)):
            values = full.values.copy()
            order_of_rows = np.random.default_rng(j + 1_000 * draw).permutation(len(rows))
            values[order_of_rows[sizes[k] :], j] = np.nan
            gaps[j, draw, k] = gap_closed(Rewards(values, rewards.candidates))
        view.add_row(name, *(f"{gap:.1f}" for gap in gaps[j].mean(axis=0)))
        Console(stderr=True).print(name, gaps[j].round(1).tolist())
    means = [f"{mean:.1f}" for mean in gaps.mean(axis=(0, 1))]
    if draws > 1:
        errors = np.sqrt(gaps.var(axis=1, ddof=1).mean(axis=0) / (draws * len(gaps)))
        means = [f"{mean} ± {error:.1f}" for mean, error in zip(means, errors, strict=True)]
    view.add_row("mean" if draws == 1 else "mean ± standard error over draws", *means)
    return view


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--only", choices=("task", "candidate"))
    parser.add_argument("--tasks", type=int, default=100, help="at most")
    parser.add_argument("--rewards", type=int, nargs="*", default=[100, 300, 500], help="that a new candidate has")
    parser.add_argument("--draws", type=int, default=1, help="of the queries on which it has them")
    arguments = parser.parse_args()
    limit_output()
    with tempfile.TemporaryDirectory() as folder:
        data, settings = load_data(arguments.records.resolve(), Path(folder), "0")
        if arguments.only != "candidate":
            Console(width=140).print(new_task(data, settings, [0, 50, 200], arguments.tasks))
        if arguments.only != "task":
            Console(width=140).print(new_candidate(data, settings, arguments.rewards, arguments.draws))


if __name__ == "__main__":
    main()
