"""Selections on queries that training never saw → the numbers of a report, beside honest baselines.

Every method is a preference over candidates, and its choice is the most preferred candidate *with a recorded reward*,
so that all methods answer the same queries also where cells are missing. Where the table has a `truth` beside the
rewards, methods learn from rewards and are measured by the truth.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from zooter.data.types import Floats, Ints, Labels, Rewards, Tags
from zooter.metrics import baselines, routing
from zooter.metrics.per_tag import by_tag, finite_or_none
from zooter.training.labels import TagPrior, align, tag_reward_means

METHODS = ("routed", "random", "best_single", "per_tag_best", "knn", "oracle")
RANKING = "ranking"  # reward-model ranking: ask all, take the best rewarded; only where a truth says how good that is


@dataclass(frozen=True)
class RouterOutcome:
    """What each method got on some test queries.

    Attributes:
        rewards: method → (n,) reward, or truth, of its choice; the mean over observed candidates for `random`.
        choices: (n,) the router's columns.
        probs: (n, m) the router's probabilities over the observed candidates.
        uncalibrated: (n, m) the same before temperature scaling: on the scale of the labels.
        labels: (n, m) unsmoothed labels.
        best: (n, m) 1 at the candidates with the best reward, shared among them.
        test: (n, m) what methods are measured by: the test rewards, or their truth.
        tags: (n, t).
        best_single: the name of the candidate with the best mean reward, or truth, on the training part.
        k: the number of neighbours chosen for kNN.
    """

    rewards: dict[str, Floats]
    choices: Ints
    probs: Floats
    uncalibrated: Floats
    labels: Labels
    best: Labels
    test: Rewards
    tags: Tags
    best_single: tuple[str, ...]
    k: tuple[int, ...]


def router_outcome(
    probs: Floats,
    prior: TagPrior,
    embeddings: tuple[NDArray[np.float32], NDArray[np.float32]],
    rewards: tuple[Rewards, Rewards],
    tags: tuple[Tags, Tags],
    truth: tuple[Rewards, Rewards] | None = None,
    others: Mapping[str, Floats] | None = None,
    uncalibrated: Floats | None = None,
) -> RouterOutcome:
    """What the router and the baselines get on the test queries; pairs are (training, test).

    Args:
        probs: (n, m) the router's probabilities on the test queries.
        prior: of the training queries.
        truth: what methods are measured by, when that is not the rewards that they learn from; at least one a row.
        others: further methods' preferences (n, m).
        uncalibrated: (n, m) the probabilities before temperature scaling; None if they never were scaled.
    """
    train, test = rewards[0], (truth or rewards)[1]
    n, observed = len(test.values), test.observed
    # The hardest single model to beat is the one that the truth shows to be best, which only a verifier knows.
    order = baselines.rank_by_mean_reward((truth or rewards)[0])
    neighbours = baselines.NearestNeighbours.fit(embeddings[0], train)
    preferences = {
        "routed": probs,
        **(others or {}),
        **({} if truth is None else {RANKING: np.nan_to_num(rewards[1].values, nan=-np.inf)}),
        "best_single": baselines.preference_from_order(order, n),
        "per_tag_best": _tag_means(train, tags, prior),
        "knn": neighbours.predict(embeddings[1]),
        "oracle": np.nan_to_num(test.values, nan=-np.inf),
    }
    choices = {name: routing.choose(preference, observed, order) for name, preference in preferences.items()}
    got = {name: test.values[np.arange(n), chosen] for name, chosen in choices.items()}
    got["random"] = np.nanmean(test.values, axis=1)
    rewarded = rewards[1].observed
    return RouterOutcome(
        rewards={name: got[name] for name in (*METHODS, *(name for name in got if name not in METHODS))},
        choices=choices["routed"],
        probs=_masked(probs, rewarded),
        uncalibrated=_masked(probs if uncalibrated is None else uncalibrated, rewarded),
        labels=prior.own(rewards[1]),
        best=routing.best_shares(rewards[1]),
        test=test,
        tags=tags[1],
        best_single=(test.candidates[order[0]],),
        k=(neighbours.k,),
    )


def _masked(probs: Floats, observed: NDArray[np.bool_]) -> Floats:
    """Probabilities given that the choice is among the observed candidates; even where they have no mass at all."""
    masked = np.where(observed, probs, 0.0)
    total = masked.sum(axis=1, keepdims=True)
    even = observed / observed.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(masked, total, out=even, where=total > 0))


def concatenate_outcomes(outcomes: Sequence[RouterOutcome]) -> RouterOutcome:
    """The outcomes of all folds as one; tags are aligned by name, for folds may have different clusters."""
    first = outcomes[0]
    names = tuple(sorted({name for o in outcomes for name in o.tags.names}))
    return RouterOutcome(
        rewards={name: np.concatenate([o.rewards[name] for o in outcomes]) for name in first.rewards},
        choices=np.concatenate([o.choices for o in outcomes]),
        probs=np.concatenate([o.probs for o in outcomes]),
        uncalibrated=np.concatenate([o.uncalibrated for o in outcomes]),
        labels=Labels(np.concatenate([o.labels.values for o in outcomes]), first.labels.candidates),
        best=Labels(np.concatenate([o.best.values for o in outcomes]), first.labels.candidates),
        test=Rewards(np.concatenate([o.test.values for o in outcomes]), first.test.candidates),
        tags=Tags(sp.vstack([align(o.tags, names) for o in outcomes], format="csr"), names),
        best_single=tuple(name for o in outcomes for name in o.best_single),
        k=tuple(k for o in outcomes for k in o.k),
    )


def summarise(outcome: RouterOutcome) -> dict[str, Any]:
    """All numbers of the report's `test` section, ready for JSON; intervals are 95 % paired bootstrap."""
    names = tuple(outcome.rewards)
    statistics = partial(_statistics, names)
    columns = np.stack([outcome.rewards[name] for name in names])
    means = columns.mean(axis=1)
    low, high = routing.paired_bootstrap(columns, statistics)
    point = statistics(*means)
    interval = [[finite_or_none(a), finite_or_none(b)] for a, b in zip(low, high, strict=True)]
    gap, over_single, over_knn = len(names), len(names) + 1, len(names) + 2
    of_tags = by_tag(outcome.rewards, outcome.test, outcome.tags)
    for ranks in (of_tags["mean_task_rank"], of_tags["uplift"]):
        for bound in ("random", "oracle"):
            del ranks[bound]
    return {
        "queries": len(outcome.choices),
        **{name: finite_or_none(mean) for name, mean in zip(names, means, strict=True)},
        "best_single_name": Counter(outcome.best_single).most_common(1)[0][0],
        "knn_neighbours": list(outcome.k),
        "intervals": dict(zip(names, interval, strict=False)),
        "gap_closed": finite_or_none(point[gap]),
        "gap_closed_ci": interval[gap],
        "over_best_single": {"mean": finite_or_none(point[over_single]), "ci": interval[over_single]},
        "over_knn": {"mean": finite_or_none(point[over_knn]), "ci": interval[over_knn]},
        "gap_closed_by": {
            name: finite_or_none(
                routing.gap_closed(mean, means[names.index("best_single")], means[names.index("oracle")])
            )
            for name, mean in zip(names, means, strict=True)
        },
        **of_tags,
        "candidates": {
            name: {"reward": finite_or_none(reward), "share": float(np.mean(outcome.choices == j))}
            for j, (name, reward) in enumerate(
                zip(outcome.test.candidates, outcome.test.column_means(), strict=True)
            )
        },
        "missing_cells": int((~outcome.test.observed).sum()),
        "calibration": _calibration(outcome),
        "entropy": _entropy(outcome),
    }


def _tag_means(train: Rewards, tags: tuple[Tags, Tags], prior: TagPrior) -> Floats:
    """(n, m): mean training reward of each candidate over a test query's tags, which a router does not know."""
    of_tag = np.nan_to_num(tag_reward_means(train, tags[0]))
    membership = align(tags[1], tags[0].names)
    count = membership.sum(axis=1)[:, None]
    mean = (membership @ of_tag) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan_to_num(train.column_means()))


def _statistics(names: tuple[str, ...], *means: Floats) -> Floats:
    """The methods' means, the share of the gap closed, and the router's lead over the best single model and kNN."""
    of = dict(zip(names, means, strict=True))
    return np.stack(
        [
            *means,
            routing.gap_closed(of["routed"], of["best_single"], of["oracle"]),
            np.asarray(of["routed"] - of["best_single"]),
            np.asarray(of["routed"] - of["knn"]),
        ]
    )


def _calibration(outcome: RouterOutcome) -> dict[str, Any]:
    found = routing.calibration_curve(outcome.probs, outcome.best)
    return {
        "error": found.error,
        "error_before": routing.calibration_curve(outcome.uncalibrated, outcome.best).error,
        "probability": found.probability.tolist(),
        "label": found.label.tolist(),
        "cells": found.cells.tolist(),
    }


def _entropy(outcome: RouterOutcome, bins: int = 8) -> dict[str, Any]:
    """Entropy of the unsmoothed label against the reward of the best response and of the routed one (ZOOTER Fig. 3)."""
    bits = routing.entropy(outcome.labels.values)
    parts = [part for part in np.array_split(np.argsort(bits, kind="stable"), bins) if len(part)]
    series = {name: outcome.rewards[name] for name in ("oracle", "routed", "random")}
    return {
        "bits": [float(bits[part].mean()) for part in parts],
        **{name: [float(rewards[part].mean()) for part in parts] for name, rewards in series.items()},
        "spearman": {name: finite_or_none(routing.spearman(bits, rewards)) for name, rewards in series.items()},
    }
