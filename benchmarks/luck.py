"""How much of the gap to the oracle can be reached: `python benchmarks/luck.py RECORDS`. Three tables:

Luck: on queries that were scored twice for every candidate, the best candidate of one scoring (the stronger one wins
ties) is judged by the other: what it earns over the best single model can be earned again, the rest of the oracle's
lead was luck. Intervals are bootstraps over these queries; tags are listed that have ten of them or more.

Variance: of rewards' differences between candidates of one query, what is noise (by the same repeated cells), what tags
explain, and what the router does, out of fold.

Ceiling: an oracle that knows every cell's chance instead of its reward (`chances`), a router that is told the tag, the
default, and the default on other fold shuffles.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from change import earned, scores
from quality import load, quiet
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import RidgeCV

from zooter.commands.train import Settings, TrainingData
from zooter.data import reward_table
from zooter.data.split import Split
from zooter.data.types import Floats, Ints, Rewards
from zooter.metrics import baselines, routing
from zooter.training import closed_form, head_init
from zooter.training.labels import tag_reward_means

PENALTY = 0.025  # of the ridge on what known tags leave open
DRAWS = 200  # of every cell's chance


def twice(table: reward_table.RewardTable) -> tuple[Ints, Floats, Floats]:
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
        best = routing.choose(a, np.isfinite(a), order)
        same += (a[lines, best] - a[:, single]) / 2.0
        other += (b[lines, best] - b[:, single]) / 2.0
    return same, other


def luck(table: reward_table.RewardTable, rows: Ints, first: Floats, second: Floats) -> Table:
    same, other = gains(first, second, baselines.rank_by_mean_reward(table.rewards))
    shown = Table(title=f"{len(rows)} of {len(table.queries):,} queries were scored twice")
    for heading in ("tag", "queries", "cells that differ", "oracle's gap", "of it repeats", "share", "95 %"):
        shown.add_column(heading, justify="left" if heading == "tag" else "right")
    member = table.tags.take(rows).membership.toarray() > 0
    groups = {"all": np.ones(len(rows), dtype=bool)}
    groups |= {name: member[:, j] for j, name in enumerate(table.tags.names) if member[:, j].sum() >= 10}
    for name, of in groups.items():
        low, high = routing.paired_bootstrap(np.stack([other[of], same[of]]), lambda o, s: np.asarray([o / s]))
        shown.add_row(
            name, str(of.sum()), f"{np.mean(first[of] != second[of]):.1%}", f"{same[of].mean():.3f}",
            f"{other[of].mean():.3f}", f"{other[of].mean() / same[of].mean():.0%}", f"{low[0]:.0%}…{high[0]:.0%}",
        )  # fmt: skip
    return shown


def of_known_tags(table: reward_table.RewardTable) -> Floats:
    """(n, m) mean rewards of each query's own tags."""
    count = np.maximum(np.asarray(table.tags.membership.sum(axis=1)).ravel(), 1)[:, None]
    return np.asarray(table.tags.membership @ tag_reward_means(table.rewards, table.tags, 0.0)) / count


def without_own(table: reward_table.RewardTable) -> Floats:
    """(n, m) what a cell's reward is expected to be by its tag and by what the other candidates got on the query."""
    values, of_tags = table.rewards.values, of_known_tags(table)
    found = np.empty(values.shape)
    for j in range(values.shape[1]):
        others = np.arange(values.shape[1]) != j
        known = np.hstack([values[:, others] - of_tags[:, others], table.tags.membership.toarray()])
        seen = ~np.isnan(values[:, j])
        found[:, j] = (
            RidgeCV(np.logspace(0, 4, 9)).fit(np.nan_to_num(known[seen]), values[seen, j]).predict(np.nan_to_num(known))
        )
    return np.clip(found, 0.01, 0.99)


def repeats(expected: Floats, first: Floats, second: Floats) -> float:
    """ρ: the share of what `expected` leaves open of a cell that a second scoring repeats, in [0.01, 0.99]."""
    a, b = first - expected, second - expected
    return float(np.clip(2.0 * (a * b).mean() / (a**2 + b**2).mean(), 0.01, 0.99))


def chances(rewards: Floats, expected: Floats, share: float, rng: np.random.Generator) -> Floats:
    """(n, m) a draw of every cell's chance, by the beta-binomial model.

    A chance is Beta(s·μ, s·(1−μ)) with μ what is expected without the cell (`without_own`) and s = (1−ρ)/ρ; a reward r
    in [0, 1] makes it Beta(s·μ + r, s·(1−μ) + 1 − r). Given μ and r, chances of one query's candidates are independent.
    """
    weight, r = (1.0 - share) / share, np.clip(rewards, 0.0, 1.0)
    return rng.beta(weight * expected + r, weight * (1.0 - expected) + 1.0 - r)


def told(data: TrainingData, rows: Ints, seen: Rewards, test: Ints) -> Floats:
    """(k, m) rewards expected by one who knows each test query's tag, and a ridge on what tags leave open."""
    tags = data.records.tags
    means = tag_reward_means(seen, tags.take(rows))
    head = head_init.init_head(data.features[rows], seen, [], 1.0, 1, 0.0)
    z = head.standardise(data.features)
    left = seen.values - tags.take(rows).membership @ means
    weights = closed_form.fit_ridge(z[rows], left)[PENALTY]
    return np.asarray(tags.take(test).membership @ means + z[test].double().numpy() @ weights.T)


def out_of_fold(data: TrainingData, given: Settings) -> tuple[Floats, Floats, Floats]:
    """(n, m) rewards that the default's start and `told` expect, and (n, m) means of training folds."""
    rewards = data.records.rewards
    found = [np.zeros(rewards.values.shape) for _ in range(3)]
    for part in given.split.parts(data.records.queries, 5):
        rows = np.concatenate([part.train, part.val])
        seen = rewards.take(rows)
        found[0][part.test] = scores(data, given, rows, seen, part.test)
        found[1][part.test] = told(data, rows, seen, part.test)
        found[2][part.test] = seen.column_means()
    return found[0], found[1], found[2]


def inside(values: Floats) -> Floats:
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def variance(
    table: reward_table.RewardTable, rows: Ints, pair: tuple[Floats, Floats], found: tuple[Floats, ...]
) -> Table:
    default, knowing, means = found
    rewards = table.rewards.values
    total = float((inside(rewards - means) ** 2).mean())
    noise = float((inside(pair[0] - pair[1]) ** 2).mean() / 2.0)
    shown = Table(title=f"variance of rewards between the candidates of a query, {total:.4f} = 100 %")
    shown.add_column("what")
    shown.add_column("%", justify="right")
    for name, left in (("the tag, known, and a ridge on the rest", knowing), ("the default", default)):
        explained = 1.0 - (inside(rewards - left) ** 2).mean() / total
        shown.add_row(f"explained out of fold by {name}", f"{100 * explained:.1f}")
    of_pair = float((inside(pair[0] - means[rows]) ** 2).mean() + (inside(pair[1] - means[rows]) ** 2).mean()) / 2.0
    shown.add_row(f"noise, on the {len(rows)} queries scored twice", f"{100 * noise / of_pair:.1f}")
    return shown


def reachable(table: reward_table.RewardTable, rows: Ints, first: Floats, second: Floats) -> tuple[float, str]:
    """Share of an oracle's gap that choosing by every cell's chance would close, in the model of chances.

    And how the model fares where it can be tested: the share of the gap that repeats when it draws two scorings of the
    queries that were scored twice.
    """
    rng, expected, order = np.random.default_rng(0), without_own(table), baselines.rank_by_mean_reward(table.rewards)
    share = repeats(expected[rows], first, second)
    ends = np.zeros(3)  # the best single model, the best by chance, the best by one scoring
    led = np.zeros(2)
    for _ in range(DRAWS):
        drawn = chances(table.rewards.values, expected, share, rng)
        one, other = (rng.binomial(1, drawn).astype(float) for _ in range(2))
        ends += np.array([drawn[:, order[0]].mean(), drawn.max(axis=1).mean(), one.max(axis=1).mean()])
        led += np.array([side.mean() for side in gains(one[rows], other[rows], order)])
    found = float((ends[1] - ends[0]) / (ends[2] - ends[0]))
    return found, f"ρ = {share:.2f}; two of its scorings repeat {led[1] / led[0]:.0%} on the queries scored twice"


def ceiling(
    data: TrainingData, given: Settings, reached: tuple[float, str], found: tuple[Floats, ...], salts: int
) -> Table:
    table, share = data.records, reached[0]
    order = baselines.rank_by_mean_reward(table.rewards)
    single = table.rewards.values[:, order[0]].mean()
    gap = np.nanmax(table.rewards.values, axis=1).mean() - single
    shown = Table(title=f"gap closed, %; the model of chances: {reached[1]}")
    for heading in ("who chooses", "of the gap", "of what can be reached"):
        shown.add_column(heading, justify="left" if heading == "who chooses" else "right")

    def line(name: str, preference: Floats) -> None:
        closed = (earned(preference, table.rewards, order) - single) / gap
        shown.add_row(name, f"{100 * closed:.1f}", f"{100 * closed / share:.1f}")

    shown.add_row("an oracle of chances", f"{100 * share:.1f}", "100.0")
    line("told the tag, ridge on the rest", found[1])
    line("the default's start", found[0])
    for salt in range(1, salts + 1):
        other = out_of_fold(data, _salted(given, str(salt)))
        line(f"… on fold shuffle {salt}", other[0])
        line(f"told the tag, on fold shuffle {salt}", other[1])
    return shown


def _salted(given: Settings, salt: str) -> Settings:
    return replace(given, split=Split(salt=salt), seed=int(salt))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--salts", type=int, default=2, help="other fold shuffles, and seeds, of the default")
    asked = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        data, given = load(asked.records.resolve(), Path(folder), "0")
        rows, first, second = twice(data.records)
        if not len(rows):
            raise SystemExit("no query has two samples of every candidate")
        console = Console(width=120)
        console.print(luck(data.records, rows, first, second))
        found = out_of_fold(data, given)
        console.print(variance(data.records, rows, (first, second), found))
        console.print(ceiling(data, given, reachable(data.records, rows, first, second), found, asked.salts))


if __name__ == "__main__":
    main()
