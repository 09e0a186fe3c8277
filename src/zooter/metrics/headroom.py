"""Measure what routing can gain on a table of rewards: the oracle's lead, how much of it repeats, and where it is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zooter.data.reward_table import Samples
from zooter.data.types import Floats, Ints, Rewards, Tags
from zooter.metrics import routing
from zooter.metrics.baselines import first_recorded, rank_by_mean_reward

MIN_TAG_QUERIES = 20  # with fewer, a tag's interval says nothing
MIN_REPEATED = 10  # queries with repeats, below which their share says nothing


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval over queries.

    Attributes:
        mean: the mean.
        low: lower end of the interval.
        high: upper end.
    """

    mean: float
    low: float
    high: float


def estimate(values: Floats, seed: int = 0) -> Estimate:
    """Average values of queries, with a bootstrap interval.

    Args:
        values: (n,) numbers, n ≥ 1.
        seed: of the resampling.
    """
    low, high = routing.paired_bootstrap(values[None, :], np.asarray, seed)
    return Estimate(float(values.mean()), float(low), float(high))


def single_and_oracle(rewards: Rewards) -> tuple[Floats, Floats, Ints]:
    """Compute what the best single candidate and the oracle earn on each query.

    Args:
        rewards: (n, m), at least one reward per row.

    Returns:
        (n,) rewards of the candidate with the largest adjusted mean (where it has none, of the next best one); (n,)
        largest rewards; and (m,) columns in order of their adjusted means.
    """
    order = rank_by_mean_reward(rewards)
    columns = first_recorded(order, rewards.observed)
    return rewards.values[np.arange(len(columns)), columns], np.nanmax(rewards.values, axis=1), order


def out_of_fold_single(rewards: Rewards, fold: Ints) -> Floats:
    """Compute what the best single candidate of the other folds earns on each query.

    Where candidates hardly differ, the best one on the same queries owes its lead to luck, with which no choice that is
    made on other queries can compete.

    Args:
        rewards: (n, m), at least one reward per row.
        fold: (n,) numbers of folds.

    Returns:
        (n,) rewards; where that candidate has none, of the next best one.
    """
    single = np.empty(len(rewards.values))
    for k in np.unique(fold):
        test = np.flatnonzero(fold == k)
        order = rank_by_mean_reward(rewards.take(np.flatnonzero(fold != k)))
        single[test] = rewards.values[test, first_recorded(order, rewards.observed[test])]
    return single


@dataclass(frozen=True)
class Repeats:
    """How much of the oracle's lead is there again when queries are answered and scored a second time.

    Attributes:
        queries: queries on which two candidates or more have two samples.
        differing: share of their cells with two different rewards.
        lead: mean lead of the oracle over the best single candidate, on the scoring that it chose by.
        repeated: mean lead of the same choices on the other scoring.
        share: repeated / lead. An oracle that knows each cell's expected reward gains at least this share of the lead,
            because it does not choose by a single noisy scoring.
        share_low: lower end of its 95 % interval.
        share_high: upper end.
    """

    queries: int
    differing: float
    lead: float
    repeated: float
    share: float
    share_low: float
    share_high: float


def repeats(samples: Samples, rewards: Rewards) -> Repeats | None:
    """Judge the choices of one scoring by another.

    On queries with two samples, the best candidate of the one (the stronger one wins ties) is judged by the other, both
    ways. What it still gains over the best single candidate can be gained again; of the rest, some is luck.

    Args:
        samples: the recorded rows.
        rewards: (n, m) means over the samples.

    Returns:
        The shares; None if fewer than 10 queries have two candidates with two samples, or the oracle has no lead there.
    """
    first, second = two_scorings(samples, rewards.values.shape)
    both = np.isfinite(first) & np.isfinite(second)
    rows = np.flatnonzero(both.sum(axis=1) > 1)
    if len(rows) < MIN_REPEATED:
        return None
    first, second, both = first[rows], second[rows], both[rows]
    order, lines = rank_by_mean_reward(rewards), np.arange(len(rows))
    single = first_recorded(order, both)
    same, other = np.zeros(len(rows)), np.zeros(len(rows))
    for a, b in ((first, second), (second, first)):
        best = routing.best_candidates(a, both, order)
        same += (a[lines, best] - a[lines, single]) / 2.0
        other += (b[lines, best] - b[lines, single]) / 2.0
    if not same.sum() > 0:
        return None
    low, high = routing.paired_bootstrap(np.stack([other, same]), _ratio)
    return Repeats(
        len(rows), float(np.mean(first[both] != second[both])), float(same.mean()), float(other.mean()),
        float(other.mean() / same.mean()), float(low), float(high),
    )  # fmt: skip


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


def two_scorings(samples: Samples, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Look up the rewards of each cell's first and second sample, by the order of their numbers.

    Args:
        samples: the recorded rows.
        shape: (n, m).

    Returns:
        Two (n, m) arrays; NaN where there is no such sample.
    """
    has_reward = ~np.isnan(samples.reward)
    cell = (samples.query * shape[1] + samples.candidate)[has_reward]
    number, reward = samples.sample[has_reward], samples.reward[has_reward]
    order = np.lexsort((number, cell))
    cell, reward = cell[order], reward[order]
    is_first = np.concatenate([[True], cell[1:] != cell[:-1]])
    is_second = np.concatenate([[False], is_first[:-1]]) & ~is_first
    scorings = np.full((2, shape[0] * shape[1]), np.nan)
    scorings[0, cell[is_first]], scorings[1, cell[is_second]] = reward[is_first], reward[is_second]
    return scorings[0].reshape(shape), scorings[1].reshape(shape)


def out_of_fold_tag_means(rewards: Rewards, tags: Tags, fold: Ints) -> Floats:
    """Predict each reward by the mean of the query's tags in the other folds.

    Args:
        rewards: (n, m) rewards.
        tags: (n, t) tags; a query without any is predicted by the overall means.
        fold: (n,) numbers of folds from 0.

    Returns:
        (n, m) predictions; a tag in which a candidate has no reward counts with its overall mean.
    """
    predicted = np.empty(rewards.values.shape)
    observed, values = rewards.observed.astype(float), np.nan_to_num(rewards.values)
    membership = tags.membership
    per_query = np.asarray(membership.sum(axis=1)).reshape(-1, 1)
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        means = np.nan_to_num(rewards.take(np.flatnonzero(train)).column_means())
        totals = np.asarray(membership[train].T @ values[train])
        counts = np.asarray(membership[train].T @ observed[train])
        tag_means = np.divide(totals, counts, out=np.tile(means, (len(totals), 1)), where=counts > 0)
        predicted[test] = np.where(
            per_query[test] > 0, (membership[test] @ tag_means) / np.maximum(per_query[test], 1), means
        )
    return predicted


@dataclass(frozen=True)
class TagHeadroom:
    """What can be gained on the queries of one tag.

    Attributes:
        tag: its name.
        queries: their number.
        single: mean reward of the best single candidate of the whole table.
        best: name of the candidate with the largest mean reward in the tag.
        gain: what choosing by the tags' means of other folds gains over `single`.
        oracle: mean lead of the oracle over `single`.
    """

    tag: str
    queries: int
    single: float
    best: str
    gain: Estimate
    oracle: float


def tag_headroom(rewards: Rewards, tags: Tags, single: Floats, oracle: Floats, chosen: Floats) -> list[TagHeadroom]:
    """Measure the gain per tag.

    Args:
        rewards: (n, m) rewards.
        tags: (n, t) tags.
        single: (n,) rewards of the best single candidate.
        oracle: (n,) largest rewards.
        chosen: (n,) rewards of the choices by tags' means.

    Returns:
        A row for each tag of 20 queries or more, by its share of the possible gain: the largest first.
    """
    columns = tags.membership.tocsc()
    rows = []
    for j, name in enumerate(tags.names):
        members = columns.indices[columns.indptr[j] : columns.indptr[j + 1]]
        if len(members) < MIN_TAG_QUERIES:
            continue
        means = rewards.take(members).column_means()
        best = rewards.candidates[int(np.nanargmax(means))]
        gain, lead = estimate(chosen[members] - single[members]), float((oracle - single)[members].mean())
        rows.append(TagHeadroom(name, len(members), float(single[members].mean()), best, gain, lead))
    return sorted(rows, key=lambda row: -row.oracle * row.queries)


@dataclass(frozen=True)
class PriceHeadroom:
    """How much cheaper the best single candidate's quality can be had.

    Attributes:
        single: price of the best single candidate.
        oracle: mean price of the cheapest candidates that earn at least its reward on each query.
        predicted: mean price of choices by predictions at the same mean reward; None if they do not reach it.
    """

    single: float
    oracle: float
    predicted: float | None


def price_headroom(rewards: Rewards, predicted: Floats, prices: Mapping[str, float]) -> PriceHeadroom | None:
    """Measure what routing can save at equal quality.

    Choices by predictions maximise predicted reward − λ · price, for λ on a grid; of those whose mean reward is at
    least that of the best single candidate, the cheapest counts. λ is chosen on the queries that it is measured on.

    Args:
        rewards: (n, m) rewards.
        predicted: (n, m) out-of-fold predictions.
        prices: candidate → price of a call.

    Returns:
        Prices; None if a candidate's is unknown or all are equal.
    """
    price = np.array([prices.get(name, np.nan) for name in rewards.candidates])
    if np.isnan(price).any() or np.ptp(price) == 0:
        return None
    single, _, order = single_and_oracle(rewards)
    observed: NDArray[np.bool_] = rewards.observed
    good = observed & (np.nan_to_num(rewards.values, nan=-np.inf) >= single[:, None])
    oracle = float(np.where(good, price, np.inf).min(axis=1).mean())
    scale = float(np.ptp(rewards.values[observed])) / float(np.ptp(price))
    lines, cheapest = np.arange(len(single)), None
    for weight in np.concatenate([[0.0], np.geomspace(1e-3, 10.0, 40)]):
        chosen = routing.best_candidates(predicted - weight * scale * price, observed, order)
        mean_price = float(price[chosen].mean())
        if rewards.values[lines, chosen].mean() >= single.mean() and (cheapest is None or mean_price < cheapest):
            cheapest = mean_price
    single_price = float(price[first_recorded(order, observed)].mean())
    return PriceHeadroom(single_price, oracle, cheapest)
