"""Rewards and tags → labels: the distributions that a router is distilled towards. Pure NumPy.

Source of the formulas: ZOOTER (arXiv 2311.08692) §3.2, "reward distillation" and "tag-based label enhancement".
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from zooter.data.types import Floats, Labels, Rewards, Tags
from zooter.errors import ConfigError

ORDERS = ("soften_then_average", "average_then_soften")
UNITS = ("spread", "reward")
AUTO, PER_TAG = "auto", "per_tag"


@dataclass(frozen=True)
class TagSmoothing:
    """How rewards become labels: s*(q) = β·s(q) + (1−β)·mean over q's tags of s_t.

    s(q)_i = exp(P_i/T) / Σ_j exp(P_j/T) over the observed rewards P of query q, and s_t is the mean of s over the
    queries that carry tag t. The paper has β = 0.3 and a plain softmax: `temperature=1 unit=reward shrinkage=0
    order=soften_then_average`.

    Attributes:
        beta: β in [0, 1]; 1 keeps every query's own label, 0 keeps only its tags'. "auto" is the weight that what a
            query's own rewards teach deserves by cross-fitting in the training part (`crossfit.trust`), and "per_tag"
            is one such weight for every tag, shrunk to that of all (`crossfit.of_tags`).
        temperature: T > 0, in `unit`s. Small values put all mass on the best candidates. "auto" chooses by the reward
            of out-of-fold choices (`crossfit.softness`).
        unit: "spread" divides the temperature's scale out of the rewarder: 1 means the standard deviation of the
            rewards of one query over its candidates (root mean square over the training queries), whatever the
            rewards' scale. "reward" takes T as it is, as the paper does.
        order: "soften_then_average" averages softmaxes over a tag, as the paper does. "average_then_soften"
            averages rewards and softens what comes out: s* = softmax((β·P + (1−β)·mean of P_t) / T). The mean of
            softmaxes is no softmax of a mean: only this order's labels say of a tag what its mean rewards are.
        hard: put the mass on the best candidate, shared equally where several are best: the limit T → 0.
        shrinkage: k >= 0, as if every tag had k more queries with the mean label of all training queries, so that
            a tag with few queries says little; the paper has 0. None estimates k from how much tags differ and how
            much queries of one tag do (`pseudo_queries`). A query without tags is smoothed towards that mean.
    """

    beta: float | str = "auto"
    temperature: float | str = 2.5
    unit: str = "spread"
    order: str = "average_then_soften"
    hard: bool = False
    shrinkage: float | None = None

    def __post_init__(self) -> None:
        beta, t = self.beta, self.temperature
        ok = beta in (AUTO, PER_TAG) if isinstance(beta, str) else 0.0 <= beta <= 1.0
        _require(ok, "label.beta between 0 and 1", beta, "set label.beta=auto, per_tag, or 0.3, say")
        ok = t == AUTO if isinstance(t, str) else 0.0 < t < np.inf
        _require(ok, "label.temperature above 0", t, "set label.temperature=2.5")
        _require(self.unit in UNITS, f"label.unit among {UNITS}", self.unit, "choose one")
        _require(self.order in ORDERS, f"label.order among {ORDERS}", self.order, "choose one")
        ok = self.shrinkage is None or 0.0 <= self.shrinkage < np.inf
        _require(ok, "label.shrinkage of 0 or more, or null", self.shrinkage, "set label.shrinkage=null")

    def fit(self, rewards: Rewards, tags: Tags, own: Mapping[str, float] | None = None) -> "TagPrior":
        """Learn the spread and each tag's mean from training queries.

        Args:
            rewards: (n, m); at least one reward in every row.
            tags: (n, t).
            own: tag → β of its queries, where that is another one than `beta`.
        """
        if isinstance(self.temperature, str):
            raise ValueError("a temperature has to be chosen before labels are made")
        scale = self.temperature * (spread(rewards) if self.unit == "spread" else 1.0)
        averaged = rewards.values if self.order == "average_then_soften" else self._soften(rewards.values, scale)
        overall = _column_means(averaged, np.zeros(averaged.shape[1]), 0.0)
        # Rewards differ in level from query to query; only labels are on one scale, and candidates never observed
        # in a tag stand at the mean of all.
        of_tag = _tag_means(averaged, tags.membership, overall, self.shrinkage)
        if self.order == "soften_then_average":
            of_tag, overall = _normalise(of_tag), _normalise(overall[None])[0]
        beta = np.nan if isinstance(self.beta, str) else self.beta  # tags' means do not depend on it
        betas = np.array([(own or {}).get(name, beta) for name in tags.names])
        return TagPrior(self, scale, tags.names, of_tag, overall, betas)

    def _soften(self, values: Floats, scale: float) -> Floats:
        """(n, m) with NaN → the same shape, rows summing to 1 over what is observed, NaN where it is not."""
        best = np.nanmax(values, axis=1, keepdims=True)
        weight = (values == best).astype(float) if self.hard else np.exp((values - best) / scale)
        weight[np.isnan(values)] = np.nan
        return np.asarray(weight / np.nansum(weight, axis=1, keepdims=True))


@dataclass(frozen=True)
class TagPrior:
    """What the training queries say about tags; makes labels for any query.

    Attributes:
        smoothing: the settings it was fitted with.
        scale: the temperature in units of the reward itself.
        names: the t tags.
        of_tag: (t, m) mean label of each tag (mean reward for `average_then_soften`), shrunk.
        overall: (m,) the same over all training queries.
        betas: (t,) β of each tag's queries.
    """

    smoothing: TagSmoothing
    scale: float
    names: tuple[str, ...]
    of_tag: Floats
    overall: Floats
    betas: Floats

    def rows(self, tags: Tags) -> Floats:
        """(n, m): for each query the mean over its tags, `overall` where it has none. Unknown tags are ignored."""
        membership = align(tags, self.names)
        counts = membership.sum(axis=1)
        total = membership @ self.of_tag
        mean = total / np.maximum(counts, 1.0)[:, None]
        mean[counts == 0] = self.overall
        return np.asarray(mean)

    def label(self, rewards: Rewards, tags: Tags) -> Labels:
        """Labels of queries with rewards; mass only on observed cells."""
        if isinstance(self.smoothing.beta, str):
            raise ValueError("β has to be chosen before labels are made")
        membership, soften = align(tags, self.names), self.smoothing._soften
        counts = membership.sum(axis=1)
        mean = (membership @ self.betas) / np.maximum(counts, 1.0)
        beta = np.where(counts > 0, mean, self.smoothing.beta)[:, None]
        if self.smoothing.order == "average_then_soften":
            own = rewards.values
            values = soften(beta * own + (1.0 - beta) * self.rows(tags), self.scale)
        else:
            own = np.nan_to_num(soften(rewards.values, self.scale))
            prior = np.where(rewards.observed, self.rows(tags), 0.0)
            # With hard labels a query's tags may say nothing about the candidates that it was answered by.
            silent = prior.sum(axis=1) == 0.0
            prior[silent] = own[silent]
            values = beta * own + (1.0 - beta) * _normalise(prior)
        values = np.where(rewards.observed, values, 0.0)
        return Labels(_normalise(values), rewards.candidates)

    def own(self, rewards: Rewards) -> Labels:
        """Unsmoothed labels s(q): what the rewards of these queries alone say."""
        return Labels(np.nan_to_num(self.smoothing._soften(rewards.values, self.scale)), rewards.candidates)


def spread(rewards: Rewards) -> float:
    """Root mean square, over queries with two rewards or more, of the standard deviation over candidates.

    A softmax ignores what all candidates of a query have in common, so the spread inside queries is the scale that
    matters to it. 1.0 when no query shows a difference.
    """
    values = rewards.values[rewards.observed.sum(axis=1) >= 2]
    if len(values) == 0:
        return 1.0
    found = float(np.sqrt(np.mean(np.nanvar(values, axis=1))))
    return found if found > 0.0 else 1.0


def align(tags: Tags, names: tuple[str, ...]) -> sp.csr_array:
    """(n, len(names)) membership in the columns of `names`; tags not among them are left out."""
    if tags.names == names:
        return tags.membership
    column = {name: j for j, name in enumerate(names)}
    pairs = [(old, column[name]) for old, name in enumerate(tags.names) if name in column]
    rows, cols = zip(*pairs, strict=True) if pairs else ((), ())
    move = sp.coo_array((np.ones(len(pairs)), (rows, cols)), shape=(len(tags.names), len(names))).tocsr()
    return tags.membership @ move


def tag_reward_means(rewards: Rewards, tags: Tags, shrinkage: float | None = None) -> Floats:
    """(t, m): each candidate's mean reward in each tag, shrunk to its overall mean by `shrinkage` queries.

    None estimates `shrinkage` (`pseudo_queries`). A candidate without any reward has mean 0.
    """
    return _tag_means(rewards.values, tags.membership, np.nan_to_num(rewards.column_means()), shrinkage)


def pseudo_queries(values: Floats, membership: sp.csr_array) -> float:
    """κ = σ²/τ², the number of queries that a tag's prior is worth: the variance inside tags over that between them.

    Moment estimates of the normal–normal model (Efron & Morris 1973): with p_t a tag's share of all memberships,
    σ² = Σ_t p_t·E_t[v²] − Σ_t p_t·M_t² and τ² = Σ_t p_t·((M_t − m)² − σ²/n_t), averaged over candidates; a tag mean
    of n_t queries then keeps the weight n_t/(n_t + κ). Very large when tags differ no more than by chance.

    Args:
        values: (n, m), NaN where missing.
        membership: (n, t).
    """
    counts = membership.T @ (~np.isnan(values)).astype(float)
    total = np.maximum(counts.sum(axis=0), 1.0)
    safe = np.maximum(counts, 1.0)
    filled = np.nan_to_num(values)
    means = (membership.T @ filled) / safe
    share = counts / total
    overall = (share * means).sum(axis=0)
    within = (membership.T @ filled**2).sum(axis=0) / total - (share * means**2).sum(axis=0)
    between = (share * ((means - overall) ** 2 - within / safe)).sum(axis=0)
    return float(max(within.mean(), 0.0) / max(between.mean(), 1e-9))


def _column_means(values: Floats, fallback: Floats, weight: float) -> Floats:
    counts = (~np.isnan(values)).sum(axis=0)
    return np.asarray((np.nansum(values, axis=0) + weight * fallback) / np.maximum(counts + weight, 1e-12))


def _tag_means(values: Floats, membership: sp.csr_array, overall: Floats, shrinkage: float | None) -> Floats:
    if shrinkage is None:
        shrinkage = pseudo_queries(values, membership) if membership.shape[1] else 0.0
    observed = (~np.isnan(values)).astype(float)
    counts = membership.T @ observed
    totals = membership.T @ np.nan_to_num(values)
    means = (totals + shrinkage * overall) / np.maximum(counts + shrinkage, 1e-12)
    return np.asarray(np.where(counts + shrinkage > 0.0, means, overall))


def _normalise(values: Floats) -> Floats:
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def _require(ok: bool, expected: str, found: object, do: str) -> None:
    if not ok:
        raise ConfigError(expected=expected, found=str(found), do=do)
