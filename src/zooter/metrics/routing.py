"""Compute metrics of routers, and intervals for them. Pure NumPy and SciPy; each function names its source."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from zooter.data.types import Floats, Ints, Labels, Rewards

RESAMPLES = 2_000
TOLERANCE = 1e-12  # rounding error of means whose terms are added in another order
MAX_BLOCKS = 20_000  # more queries than this are resampled in blocks
MAX_DRAWS = 1_000_000  # query draws held in memory at once


def best_candidates(preference: Floats, observed: np.ndarray, order: Ints) -> Ints:
    """Choose the most preferred candidate with a recorded reward for each query.

    Args:
        preference: (n, m); larger is preferred.
        observed: (n, m) booleans, at least one True per row.
        order: (m,) columns, strongest candidate first; the stronger one wins a tie.

    Returns:
        (n,) columns.
    """
    masked = np.where(observed, preference, -np.inf)[:, order]
    return np.asarray(order[masked.argmax(axis=1)])


def gap_closed(routed: Floats, single: Floats, oracle: Floats) -> Floats:
    """Compute the share of the gap between best single candidate and oracle that a router closes.

    (mean routed − mean best single) / (mean oracle − mean best single): RouteLLM's performance gap recovered
    (arXiv 2406.18665 §2.2) with the best single candidate as the weak and the oracle as the strong model.

    Args:
        routed: mean rewards of the router.
        single: mean rewards of the best single candidate, of the same shape.
        oracle: mean rewards of the oracle, of the same shape.

    Returns:
        0 for the best single candidate, 1 for the oracle, below 0 for a loss, NaN without a gap.
    """
    gap = np.asarray(oracle, dtype=float) - single
    return np.divide(np.asarray(routed) - single, gap, out=np.full(gap.shape, np.nan), where=gap > TOLERANCE)


def paired_bootstrap(
    columns: Floats, statistic: Callable[..., Floats], seed: int = 0, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Compute a percentile interval by resampling queries with replacement (Efron & Tibshirani 1993, §13.3).

    Args:
        columns: (k, n), a row of n values for each compared method; the methods of a query are drawn together.
        statistic: takes k means of equal shape and returns an array whose last axis is theirs.
        seed: of the resampling.
        confidence: coverage of the interval, in (0, 1).

    Returns:
        Lower and upper ends, each of the statistic's shape without its last axis. With a single query both are the
        statistic itself; NaN if the statistic is undefined in every resample.
    """
    blocks = _block_means(columns, seed)
    if blocks.shape[1] < 2:
        point = np.asarray(statistic(*columns.mean(axis=1)))
        return point, point

    values = statistic(*_resampled_means(blocks, seed))
    # A resample without a gap has no share of it; such resamples are left out.
    defined = ~np.isnan(values).all(axis=-1)
    tail = 100.0 * (1.0 - confidence) / 2.0
    ends = np.full((2, *defined.shape), np.nan)
    ends[:, defined] = np.nanpercentile(values[defined], [tail, 100.0 - tail], axis=-1)
    return ends[0], ends[1]


def _resampled_means(columns: Floats, seed: int) -> Floats:
    """(k, RESAMPLES) means of the rows of columns (k, n); all rows share the same draws of queries."""
    rng, n = np.random.default_rng(seed), columns.shape[1]
    batch = max(1, MAX_DRAWS // n)
    means = []
    for start in range(0, RESAMPLES, batch):
        size = min(batch, RESAMPLES - start)
        drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        # Counts of each query's draws: as a matrix product, a hundred rows cost little more than one.
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        means.append(columns @ counts.T.astype(float) / n)
    return np.concatenate(means, axis=1)


def _block_means(columns: Floats, seed: int) -> Floats:
    """Average random blocks of queries if there are more than MAX_BLOCKS queries.

    Means of random blocks of equal size have the same mean and, resampled, the same variance of the mean. Fewer queries
    than one block holds are left out.
    """
    n = columns.shape[1]
    size = -(-n // MAX_BLOCKS)
    if size < 2:
        return columns
    order = np.random.default_rng(seed).permutation(n)[: n // size * size]
    return np.asarray(columns[:, order].reshape(len(columns), n // size, size).mean(axis=2))


def task_ranks(router_means: Floats, candidate_means: Floats) -> Ints:
    """Rank a router in each tag among itself and the m candidates: 1 + the number of better candidates.

    ZOOTER §4.1; its mean task rank is the mean over tags, lower is better. The paper defines neither the pool nor
    ties: here a router is ranked against the single candidates only, and equal rewards share the better rank.

    Args:
        router_means: (t,) mean reward of the router per tag.
        candidate_means: (t, m) mean rewards of the candidates; NaN never ranks higher.

    Returns:
        (t,) ranks from 1 to m + 1.
    """
    return np.asarray(1 + (candidate_means > router_means[:, None] + TOLERANCE).sum(axis=1))


def uplift(router_means: Floats, candidate_means: Floats) -> float:
    """Compute the share of tags in which no candidate is better than the router (ZOOTER §4.1, "% uplift").

    Args:
        router_means: (t,) mean reward of the router per tag.
        candidate_means: (t, m) mean rewards of the candidates; NaN is never better.

    Returns:
        A share in [0, 1]; ties count for the router.
    """
    return float(np.mean(task_ranks(router_means, candidate_means) == 1))


@dataclass(frozen=True)
class CalibrationCurve:
    """Calibration of probabilities in bins of equal count.

    Attributes:
        probability: (b,) mean probability of each bin's cells.
        label: (b,) mean label of each bin's cells.
        cells: (b,) number of cells.
        error: expected calibration error: |probability − label|, averaged with the weights `cells`.
    """

    probability: Floats
    label: Floats
    cells: Ints
    error: float


def calibration_curve(probs: Floats, labels: Labels, bins: int = 10) -> CalibrationCurve:
    """Compute the calibration curve over cells with adaptive bins (Nguyen & O'Connor 2015; Guo et al. 2017 §2).

    A router's probability of a candidate estimates how often it is the best one, so the two are compared for every
    cell, not for the chosen candidate alone. Cells without a reward must have probability 0 and are left out.

    Args:
        probs: (n, m); rows sum to 1 over the observed cells.
        labels: (n, m), such as `best_shares`.
        bins: largest number of bins; fewer cells than bins give one bin per cell.
    """
    positive = probs > 0
    cell_probs, cell_labels = probs[positive], labels.values[positive]
    order = np.argsort(cell_probs, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    probability = np.array([cell_probs[part].mean() for part in parts])
    label = np.array([cell_labels[part].mean() for part in parts])
    cells = np.array([len(part) for part in parts])
    return CalibrationCurve(probability, label, cells, float(np.sum(cells * np.abs(probability - label)) / cells.sum()))


def best_shares(rewards: Rewards) -> Labels:
    """Label the best candidate of each query with 1, or share the 1 equally among several best ones.

    Args:
        rewards: (n, m), at least one reward per row.

    Returns:
        (n, m) labels; 0 for all other candidates.
    """
    values = np.nan_to_num(rewards.values, nan=-np.inf)
    best = (values == values.max(axis=1, keepdims=True)).astype(float)
    return Labels(best / best.sum(axis=1, keepdims=True), rewards.candidates)


def entropy(probs: Floats) -> Floats:
    """Compute the Shannon entropy of each row in bits, with 0·log 0 = 0.

    Args:
        probs: (n, m); rows are normalised to sum to 1.

    Returns:
        (n,) entropies in [0, log₂ m].
    """
    return np.asarray(stats.entropy(probs, base=2, axis=1))


def answer_entropy(answers: Sequence[Sequence[str]]) -> Floats:
    """Compute the entropy in bits of each query's sampled answers (ModelSwitch, arXiv 2504.00762 §3).

    Answers are compared as they are: all samples count, failed extractions included, as in the authors' analysis.

    Args:
        answers: the sampled answers of each of n queries.

    Returns:
        (n,) entropies; NaN for a query without samples.
    """
    entropies = np.full(len(answers), np.nan)
    counts = [list(Counter(samples).values()) for samples in answers]
    table = np.zeros((len(answers), max(map(len, counts), default=0)))
    for i, row_counts in enumerate(counts):
        table[i, : len(row_counts)] = row_counts
    sampled = np.array([bool(row_counts) for row_counts in counts], dtype=bool)
    entropies[sampled] = entropy(table[sampled])
    return entropies


def pearson(x: Floats, y: Floats) -> float:
    """Compute Pearson's correlation.

    Args:
        x: (n,) numbers.
        y: (n,) numbers; pairs with a NaN on either side are left out.

    Returns:
        A correlation in [−1, 1]; NaN for a constant side or fewer than two pairs.
    """
    complete = ~(np.isnan(x) | np.isnan(y))
    x, y = x[complete], y[complete]
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def spearman(x: Floats, y: Floats) -> float:
    """Compute Spearman's rank correlation.

    Args:
        x: (n,) numbers.
        y: (n,) numbers.

    Returns:
        A correlation in [−1, 1]; NaN for a constant side or fewer than two pairs.
    """
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(stats.spearmanr(x, y).statistic)


ARENA_BETA = 0.1
ARENA_PRICES = (0.0044, 200.0)  # US dollars per thousand queries that count as 1 and as 0


def arena_score(quality: Floats, price: Floats) -> Floats:
    """Compute RouterArena's score of accuracy and price (arXiv 2510.00202; `compute_arena_score` of its code).

    S = (1 + β)·A·C / (β·A + C) with C = log₂(200 / c) / log₂(200 / 0.0044) and β = 0.1. The authors do not clip c;
    here it is clipped to their price range, so that 0 is a valid price and scores stay in [0, 1].

    Args:
        quality: A, mean accuracy in [0, 1].
        price: c, US dollars per thousand queries.

    Returns:
        Scores in [0, 1]; NaN for an unknown price.
    """
    low, high = ARENA_PRICES
    cheapness = np.log2(high / np.clip(price, low, high)) / np.log2(high / low)
    denominator = ARENA_BETA * np.asarray(quality, dtype=float) + cheapness
    return np.divide(
        (1 + ARENA_BETA) * quality * cheapness, denominator, out=np.zeros_like(denominator), where=denominator != 0
    )
