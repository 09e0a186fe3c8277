"""Numbers that say how good a router is. Pure NumPy and SciPy; every function names its source."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from zooter.data.types import Floats, Ints, Labels, Rewards

RESAMPLES = 2_000
ROUNDING = 1e-12  # of means that are added up in another order
BLOCKS = 20_000  # more queries than this are bootstrapped in blocks of equal size


def choose(preference: Floats, observed: np.ndarray, order: Ints) -> Ints:
    """(n,) columns: the most preferred candidate among those with a recorded reward.

    Args:
        preference: (n, m), larger is preferred.
        observed: (n, m) bool, at least one True per row.
        order: the m columns, strongest first; the stronger one wins a tie.
    """
    masked = np.where(observed, preference, -np.inf)[:, order]
    return np.asarray(order[masked.argmax(axis=1)])


def gap_closed(routed: Floats, single: Floats, oracle: Floats) -> Floats:
    """(mean routed − mean best single) / (mean oracle − mean best single); NaN where there is no gap.

    This is RouteLLM's performance gap recovered (arXiv 2406.18665 §2.2) with the best single model in the weak
    model's place and the oracle in the strong one's. 0 is the best single model, 1 the oracle, below 0 is a loss.
    """
    gap = np.asarray(oracle, dtype=float) - single
    return np.divide(np.asarray(routed) - single, gap, out=np.full(gap.shape, np.nan), where=gap > ROUNDING)


def paired_bootstrap(
    columns: Floats, statistic: Callable[..., Floats], seed: int = 0, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Percentile interval of `statistic`, drawing whole queries with replacement (Efron & Tibshirani 1993, §13.3).

    Args:
        columns: (k, n), one row of n values per compared method; all methods of a query are drawn together.
        statistic: takes k means of equal shape and returns an array whose last axis is theirs.

    Returns:
        low and high, each of the statistic's shape without its last axis; the point itself with a single query; NaN
        where the statistic is defined in no resample.
    """
    blocks = _blocks(columns, seed)
    if blocks.shape[1] < 2:
        point = np.asarray(statistic(*columns.mean(axis=1)))
        return point, point

    found = statistic(*_resampled(blocks, seed))
    # A resample may have no gap at all, and then the share of it is not defined; such resamples are left out.
    defined = ~np.isnan(found).all(axis=-1)
    tail = 100.0 * (1.0 - confidence) / 2.0
    ends = np.full((2, *defined.shape), np.nan)
    ends[:, defined] = np.nanpercentile(found[defined], [tail, 100.0 - tail], axis=-1)
    return ends[0], ends[1]


def _resampled(columns: Floats, seed: int) -> Floats:
    """(k, RESAMPLES) means of the rows of columns (k, n), the same n draws of queries for all of them."""
    rng, n = np.random.default_rng(seed), columns.shape[1]
    batch = max(1, 1_000_000 // n)
    means = []
    for done in range(0, RESAMPLES, batch):
        size = min(batch, RESAMPLES - done)
        drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        # How often each query was drawn; as a matrix product, a hundred settings cost little more than one.
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        means.append(columns @ times.T.astype(float) / n)
    return np.concatenate(means, axis=1)


def _blocks(columns: Floats, seed: int) -> Floats:
    """Means of random blocks of queries where there are too many to draw one by one.

    Means of blocks of equal size, formed at random, have the same mean and, drawn with replacement, give the mean the
    same variance; up to one block of queries is left out.
    """
    n = columns.shape[1]
    size = -(-n // BLOCKS)
    if size < 2:
        return columns
    order = np.random.default_rng(seed).permutation(n)[: n // size * size]
    return np.asarray(columns[:, order].reshape(len(columns), n // size, size).mean(axis=2))


def task_ranks(of_router: Floats, of_candidates: Floats) -> Ints:
    """(t,) rank of the router in each tag among itself and the m candidates: 1 + how many candidates are better.

    ZOOTER §4.1 (mean task rank is their mean; lower is better). The paper defines neither the pool nor ties: here
    each router is ranked against the single candidates only, and equal rewards share the better rank.

    Args:
        of_router: (t,) mean reward per tag.
        of_candidates: (t, m); NaN never beats.
    """
    return np.asarray(1 + (of_candidates > of_router[:, None] + ROUNDING).sum(axis=1))


def uplift(of_router: Floats, of_candidates: Floats) -> float:
    """Share of tags in which no candidate is better than the router (ZOOTER §4.1, "% uplift"; ties count)."""
    return float(np.mean(task_ranks(of_router, of_candidates) == 1))


@dataclass(frozen=True)
class CalibrationCurve:
    """Equal-count bins of cells: mean probability, mean label, and how many cells; `error` is their weighted gap."""

    probability: Floats
    label: Floats
    cells: Ints
    error: float


def calibration_curve(probs: Floats, labels: Labels, bins: int = 10) -> CalibrationCurve:
    """Expected calibration error over cells with adaptive bins (Nguyen & O'Connor 2015; Guo et al. 2017 §2).

    A router's probability of a candidate means how often it is the best one, so the two are compared cell by cell, not
    for the chosen candidate alone. Cells without a reward must have probability 0 and are left out.

    Args:
        probs: (n, m), rows sum to 1 over the observed cells.
        labels: (n, m), such as `best_shares`.
    """
    kept = probs > 0
    p, s = probs[kept], labels.values[kept]
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    probability = np.array([p[part].mean() for part in parts])
    label = np.array([s[part].mean() for part in parts])
    cells = np.array([len(part) for part in parts])
    return CalibrationCurve(probability, label, cells, float(np.sum(cells * np.abs(probability - label)) / cells.sum()))


def best_shares(rewards: Rewards) -> Labels:
    """(n, m): 1 at a query's best candidate, shared equally where several are best; 0 elsewhere."""
    values = np.nan_to_num(rewards.values, nan=-np.inf)
    best = (values == values.max(axis=1, keepdims=True)).astype(float)
    return Labels(best / best.sum(axis=1, keepdims=True), rewards.candidates)


def entropy(probs: Floats) -> Floats:
    """(n,) Shannon entropy of each row in bits; 0·log 0 = 0."""
    return np.asarray(stats.entropy(probs, base=2, axis=1))


def answer_entropy(answers: Sequence[Sequence[str]]) -> Floats:
    """(n,) entropy in bits of each query's sampled answers, one list a query (ModelSwitch, arXiv 2504.00762 §3).

    Answers are counted as they are: log₂ and all samples, failed extractions among them, as in the authors' analysis.
    NaN for a query without samples.
    """
    found = np.full(len(answers), np.nan)
    counts = [list(Counter(given).values()) for given in answers]
    table = np.zeros((len(answers), max(map(len, counts), default=0)))
    for i, of in enumerate(counts):
        table[i, : len(of)] = of
    asked = np.array([bool(of) for of in counts], dtype=bool)
    found[asked] = entropy(table[asked])
    return found


def pearson(x: Floats, y: Floats) -> float:
    """Pearson's correlation over the pairs that have both numbers; NaN when one side is constant."""
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both], y[both]
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def samples_saved(used: Floats, budget: float) -> float:
    """Share of the samples of self-consistency with `budget` samples that were not drawn (ModelSwitch, "savings").

    Args:
        used: (n,) samples drawn per query, over all candidates; more than the budget gives a share below 0.
    """
    return 1.0 - float(np.mean(used)) / budget


ARENA = (0.1, 0.0044, 200.0)  # RouterArena's β, and the prices of a thousand queries that count as 1 and as 0


def arena_score(quality: Floats, price: Floats) -> Floats:
    """RouterArena's score of accuracy and price (arXiv 2510.00202; `compute_arena_score` of RouteWorks/RouterArena).

    S = (1 + β)·A·C / (β·A + C) with C = log₂(200 / c) / log₂(200 / 0.0044) and β = 0.1. The authors do not clip c;
    here it is, so that 0 is a price and scores stay in [0, 1].

    Args:
        quality: A, mean accuracy in [0, 1].
        price: c, US dollars per thousand queries.
    """
    beta, low, high = ARENA
    c = np.log2(high / np.clip(price, low, high)) / np.log2(high / low)
    below = beta * np.asarray(quality, dtype=float) + c
    return np.divide((1 + beta) * quality * c, below, out=np.zeros_like(below), where=below != 0)


def spearman(x: Floats, y: Floats) -> float:
    """Spearman's rank correlation; NaN when one side is constant."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(stats.spearmanr(x, y).statistic)
