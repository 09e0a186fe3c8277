"""Measure a router beside baselines on queries that training never saw, and summarise the outcome for a report.

Every method is a preference over candidates, and its choice is the most preferred candidate *with a recorded reward*,
so that all methods answer the same queries also where cells are missing; how often that was its first choice is
counted. Where the table has a `truth` beside the rewards, methods learn from rewards and are measured by the truth;
the best single candidate alone is chosen by the truth, on training queries. The selectors of the same names
(`zooter.selector.baseline`) have the same definitions, so that both evaluations give the same figures.
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
from zooter.evaluation import tag_groups
from zooter.evaluation.intervals import with_interval
from zooter.evaluation.reward_entropy import RANKING, summarise_entropy
from zooter.evaluation.validation import validation_rewards
from zooter.metrics import baselines, routing
from zooter.metrics.per_tag import finite_or_none, per_tag_report, rank_candidates
from zooter.metrics.preferences import win_rates
from zooter.training.labels import TagPrior
from zooter.training.tag_means import align_tags, tag_reward_means

METHODS = ("routed", "random", "best_single", "per_tag_best", "knn", "oracle")
BY_TRUTH = ("best_single", "oracle")  # chosen by the truth, where there is one


@dataclass(frozen=True)
class RouterOutcome:
    """What each method obtained on n test queries with m candidates.

    Attributes:
        rewards: method → (n,) reward, or truth, of its choice; the mean over observed candidates for `random`.
        first_choices: method → (n,) column of its first choice, whether that is recorded or not.
        choices: (n,) column of the router's choice.
        probs: (n, m) the router's probabilities, renormalised over the observed candidates.
        uncalibrated: (n, m) the same before temperature scaling.
        labels: (n, m) unsmoothed labels.
        best: (n, m) 1 at the candidate with the best reward, shared equally among ties.
        test: (n, m) what methods are measured by: the test rewards, or their truth.
        tags: (n, t) tags of the test queries.
        best_single: name of the candidate with the best mean reward, or truth, on the training part; one per fold.
        neighbours: number of neighbours chosen for kNN; one per fold.
        measured_by: "truth" or "reward".
        validation: (3, v) rewards of the router, the best single candidate and the oracle on validation queries.
        queries: n texts of the test queries.
    """

    rewards: dict[str, Floats]
    first_choices: dict[str, Ints]
    choices: Ints
    probs: Floats
    uncalibrated: Floats
    labels: Labels
    best: Labels
    test: Rewards
    tags: Tags
    best_single: tuple[str, ...]
    neighbours: tuple[int, ...]
    measured_by: str
    validation: Floats
    queries: tuple[str, ...] = ()


def evaluate_router(
    probs: Floats,
    prior: TagPrior,
    embeddings: tuple[NDArray[np.float32], NDArray[np.float32]],
    rewards: tuple[Rewards, Rewards],
    tags: tuple[Tags, Tags],
    truth: tuple[Rewards, Rewards] | None = None,
    others: Mapping[str, Floats] | None = None,
    uncalibrated: Floats | None = None,
    validation: tuple[Floats, Rewards] | None = None,
) -> RouterOutcome:
    """Measure the router and the baselines on the test queries; pairs are (training, test).

    Args:
        probs: (n, m) the router's probabilities on the test queries.
        prior: fitted on the training queries.
        embeddings: (n_train, d) and (n, d), for kNN.
        rewards: (n_train, m) and (n, m); at least one observed reward in each test row.
        tags: of the same queries.
        truth: what methods are measured by, when that is not the rewards that they learn from; at least one observed
            value a row. None measures by rewards.
        others: further methods' names → their preferences (n, m).
        uncalibrated: (n, m) probabilities before temperature scaling; None if they never were scaled.
        validation: (v, m) the router's probabilities on the validation queries, and their rewards; None for no such
            queries.
    """
    train, test = rewards[0], (truth or rewards)[1]
    n, observed = len(test.values), test.observed
    # The strongest baseline is the candidate that the truth shows to be best, which a deployment would not know.
    by_truth, by_reward = baselines.rank_by_mean_reward((truth or rewards)[0]), baselines.rank_by_mean_reward(train)
    knn = baselines.NearestNeighbours.fit(embeddings[0], train)
    preferences = {
        "routed": probs,
        **(others or {}),
        **({} if truth is None else {RANKING: np.nan_to_num(rewards[1].values, nan=-np.inf)}),
        "best_single": baselines.preference_from_order(by_truth, n),
        "per_tag_best": _tag_preferences(train, tags),
        "knn": knn.predict(embeddings[1]),
        "oracle": np.nan_to_num(test.values, nan=-np.inf),
    }
    orders = {name: by_truth if name in BY_TRUTH else by_reward for name in preferences}
    choices, first_choices = (
        {name: routing.best_candidates(preferences[name], available, orders[name]) for name in preferences}
        for available in (observed, np.ones_like(observed))
    )
    first_choices["oracle"] = choices["oracle"]
    obtained = {name: test.values[np.arange(n), columns] for name, columns in choices.items()}
    obtained["random"] = np.nanmean(test.values, axis=1)
    rewarded = rewards[1].observed
    return RouterOutcome(
        rewards={name: obtained[name] for name in (*METHODS, *(name for name in obtained if name not in METHODS))},
        first_choices=first_choices,
        choices=choices["routed"],
        probs=_renormalise(probs, rewarded),
        uncalibrated=_renormalise(probs if uncalibrated is None else uncalibrated, rewarded),
        labels=prior.own_labels(rewards[1]),
        best=routing.best_shares(rewards[1]),
        test=test,
        tags=tags[1],
        best_single=(test.candidates[by_truth[0]],),
        neighbours=(knn.k,),
        measured_by="reward" if truth is None else "truth",
        validation=np.zeros((3, 0)) if validation is None else validation_rewards(*validation, by_reward),
    )


def _renormalise(probs: Floats, observed: NDArray[np.bool_]) -> Floats:
    """Restrict probabilities to the observed candidates; uniform over these where they have no mass at all."""
    masked = np.where(observed, probs, 0.0)
    total = masked.sum(axis=1, keepdims=True)
    uniform = observed / observed.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(masked, total, out=uniform, where=total > 0))


def _tag_preferences(train: Rewards, tags: tuple[Tags, Tags]) -> Floats:
    """Average training rewards (n, m) over each test query's true tags, which a router does not have."""
    tag_means = np.nan_to_num(tag_reward_means(train, tags[0]))
    membership = align_tags(tags[1], tags[0].names)
    count = membership.sum(axis=1)[:, None]
    mean = (membership @ tag_means) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan_to_num(train.column_means()))


def concatenate_outcomes(outcomes: Sequence[RouterOutcome]) -> RouterOutcome:
    """Concatenate the outcomes of all folds; tags are aligned by name, since folds may have different clusters.

    Args:
        outcomes: one per fold, on disjoint queries and the same candidates.
    """
    first = outcomes[0]
    names = tuple(sorted({name for outcome in outcomes for name in outcome.tags.names}))
    return RouterOutcome(
        rewards={name: np.concatenate([outcome.rewards[name] for outcome in outcomes]) for name in first.rewards},
        first_choices={
            name: np.concatenate([outcome.first_choices[name] for outcome in outcomes]) for name in first.first_choices
        },
        choices=np.concatenate([outcome.choices for outcome in outcomes]),
        probs=np.concatenate([outcome.probs for outcome in outcomes]),
        uncalibrated=np.concatenate([outcome.uncalibrated for outcome in outcomes]),
        labels=Labels(np.concatenate([outcome.labels.values for outcome in outcomes]), first.labels.candidates),
        best=Labels(np.concatenate([outcome.best.values for outcome in outcomes]), first.labels.candidates),
        test=Rewards(np.concatenate([outcome.test.values for outcome in outcomes]), first.test.candidates),
        tags=Tags(sp.vstack([align_tags(outcome.tags, names) for outcome in outcomes], format="csr"), names),
        best_single=tuple(name for outcome in outcomes for name in outcome.best_single),
        neighbours=tuple(count for outcome in outcomes for count in outcome.neighbours),
        measured_by=first.measured_by,
        validation=np.concatenate([outcome.validation for outcome in outcomes], axis=1),
        queries=tuple(text for outcome in outcomes for text in outcome.queries),
    )


def summarise(outcome: RouterOutcome, groups: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Compute the numbers of a report's `test` section.

    Args:
        outcome: of all test queries.
        groups: tag → group, for the means and ranks of groups of tags.

    Returns:
        Values that are ready for JSON, with None for what is undefined. Intervals are 95 % paired bootstrap over
        queries; task ranks and uplift are ZOOTER's (§4.1), over tags.
    """
    names = tuple(outcome.rewards)
    statistics = partial(_statistics, names)
    columns = np.stack([outcome.rewards[name] for name in names])
    means = columns.mean(axis=1)
    low, high = routing.paired_bootstrap(columns, statistics)
    point = statistics(*means)
    interval = [[finite_or_none(a), finite_or_none(b)] for a, b in zip(low, high, strict=True)]
    gap, over_single, over_knn = len(names), len(names) + 1, len(names) + 2
    by_tag = per_tag_report(outcome.rewards, outcome.test, outcome.tags)
    candidate_ranks = rank_candidates(outcome.test, outcome.tags)
    for ranks in (by_tag["mean_task_rank"], by_tag["uplift"]):
        for bound in ("random", "oracle"):
            del ranks[bound]
    best_single, oracle = means[names.index("best_single")], means[names.index("oracle")]
    return {
        "queries": len(outcome.choices),
        "measured_by": outcome.measured_by,
        "chosen_by": {
            **dict.fromkeys(names, "reward"),
            **dict.fromkeys(BY_TRUTH, outcome.measured_by),
            "random": "chance",
        },
        **{name: finite_or_none(mean) for name, mean in zip(names, means, strict=True)},
        "best_single_name": Counter(outcome.best_single).most_common(1)[0][0],
        "knn_neighbours": list(outcome.neighbours),
        "intervals": dict(zip(names, interval, strict=False)),
        "gap_closed": finite_or_none(point[gap]),
        "gap_closed_ci": interval[gap],
        "over_best_single": {"mean": finite_or_none(point[over_single]), "ci": interval[over_single]},
        "over_knn": {"mean": finite_or_none(point[over_knn]), "ci": interval[over_knn]},
        "gap_closed_by": {
            name: finite_or_none(routing.gap_closed(mean, best_single, oracle))
            for name, mean in zip(names, means, strict=True)
        },
        "known": _summarise_recorded(outcome),
        **by_tag,
        "groups": tag_groups.summarise_groups(by_tag["tags"], groups or {}, names, outcome.test.candidates),
        "candidates": {
            name: {
                "reward": finite_or_none(reward),
                "share": float(np.mean(outcome.first_choices["routed"] == j)),
                **candidate_ranks[name],
            }
            for j, (name, reward) in enumerate(zip(outcome.test.candidates, outcome.test.column_means(), strict=True))
        },
        "missing_cells": int((~outcome.test.observed).sum()),
        "win_rate": win_rates(outcome.test, outcome.rewards),
        "calibration": _summarise_calibration(outcome),
        "entropy": summarise_entropy(outcome.labels, outcome.rewards),
    }


def _summarise_recorded(outcome: RouterOutcome) -> dict[str, Any]:
    """Compare the router with best single and kNN where the first choices of both are recorded.

    That is the rule of `zooter.evaluation.replay` for missing cells. The other numbers are over all queries, a method
    whose choice is missing taking its next one.
    """
    every_row = np.arange(len(outcome.choices))
    recorded = {name: outcome.test.observed[every_row, columns] for name, columns in outcome.first_choices.items()}
    summary: dict[str, Any] = {"queries": {name: int(rows.sum()) for name, rows in recorded.items()}}
    for other in ("best_single", "knn"):
        both = recorded["routed"] & recorded[other]
        lead = (outcome.rewards["routed"] - outcome.rewards[other])[both]
        ends: Any = ([np.nan], [np.nan])
        if len(lead):
            ends = routing.paired_bootstrap(lead[None], lambda mean: mean[None])
        mean = float(lead.mean()) if len(lead) else np.nan
        summary[f"over_{other}"] = {**with_interval(mean, ends[0][0], ends[1][0]), "queries": len(lead)}
    return summary


def _statistics(names: tuple[str, ...], *means: Floats) -> Floats:
    """Stack the methods' means, the share of the gap closed, and the router's lead over best single and kNN."""
    mean = dict(zip(names, means, strict=True))
    return np.stack(
        [
            *means,
            routing.gap_closed(mean["routed"], mean["best_single"], mean["oracle"]),
            np.asarray(mean["routed"] - mean["best_single"]),
            np.asarray(mean["routed"] - mean["knn"]),
        ]
    )


def _summarise_calibration(outcome: RouterOutcome) -> dict[str, Any]:
    curve = routing.calibration_curve(outcome.probs, outcome.best)
    return {
        "error": curve.error,
        "error_before": routing.calibration_curve(outcome.uncalibrated, outcome.best).error,
        "probability": curve.probability.tolist(),
        "label": curve.label.tolist(),
        "cells": curve.cells.tolist(),
    }
