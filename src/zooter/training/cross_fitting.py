"""What training queries say about a head that was not fitted on them: how far to trust tags, residuals and routing.

A head is fitted on some of the training queries and predicts the others, in turn (cross-fitting, Stone 1974; stacking
with non-negative weights, Breiman 1996). Nothing here sees a validation or a test query.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize_scalar, nnls
from scipy.special import log_softmax
from torch import Tensor, nn

from zooter.data.types import Floats, Rewards, Tags
from zooter.metrics.baselines import rank_by_mean_reward
from zooter.metrics.routing import best_shares, choose
from zooter.training.closed_form import RIDGE_PENALTIES, fit_classifier, fit_ridge, frequent_tags
from zooter.training.head_init import BlendWeights
from zooter.training.labels import TagSmoothing, tag_reward_means

FOLDS = 3
SMALL_TABLE, SMALL_TABLE_FOLDS = 1_000, 10  # of few queries as many as possible are fitted on
MAX_TAG_WEIGHT, MAX_RESIDUAL_WEIGHT = 1.2, 1.0  # weights above these have been chance
MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-2, 1e2  # temperatures of calibration that are looked at, in spreads of the scores
TEMPERATURES = (2.5, 1.0, 0.5, 0.25)  # of labels that are looked at, in spreads of the rewards


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for n training queries by heads that were fitted without them.

    Attributes:
        overall: (m,) mean rewards of all training queries.
        of_tags: (n, m) rewards expected from probable tags.
        residual: penalty → (n, m), what the ridge adds.
    """

    overall: Floats
    of_tags: Floats
    residual: dict[float, Floats]


def cross_fit(z: Tensor, rewards: Rewards, views: Sequence[Tags], seed: int) -> OutOfFold:
    """Out-of-fold predictions of rewards (n, m) from standardised features (n, d) and tags (n, t) of each view."""
    n, m = rewards.values.shape
    folds = min(n, FOLDS if n >= SMALL_TABLE else SMALL_TABLE_FOLDS)
    fold = np.random.default_rng(seed).permutation(n) % folds
    views = [view for view in map(frequent_tags, views) if view.names]
    from_tags = np.zeros((n, m))
    residual = {penalty: np.zeros((n, m)) for penalty in RIDGE_PENALTIES}
    for k in range(folds):
        fitted, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        seen = rewards.take(fitted)
        at_fitted, from_tags[held] = _of_tags(z[fitted], z[held], seen, [view.take(fitted) for view in views])
        for penalty, weights in fit_ridge(z[fitted], seen.values - at_fitted).items():
            residual[penalty][held] = (z[held].double() @ torch.from_numpy(weights).T).numpy()
    return OutOfFold(np.nan_to_num(rewards.column_means()), from_tags, residual)


def fit_blend_weights(found: OutOfFold, rewards: Rewards, beta: float | None = None) -> BlendWeights:
    """Weights by non-negative least squares on differences between candidates, less one standard error of theirs.

    Of the ridge's penalties the one whose error is least. One standard error less is the rule of Breiman et al. (1984,
    §3.4.3) against believing chance: with many queries it is next to nothing, with few it keeps to the mean rewards.

    Args:
        found: out-of-fold predictions of the queries that `rewards` (n, m) are of.
        beta: takes the place of the residual's weight, when given.
    """
    observed = rewards.observed
    wanted = _differences(rewards.values - found.overall, observed)
    from_tags = _differences(found.of_tags - found.overall, observed)
    best, least = BlendWeights(), np.inf
    for penalty, residual in found.residual.items():
        columns = np.stack([from_tags, _differences(residual, observed)], axis=2)
        weights = nnls(columns.reshape(-1, 2), wanted.ravel())[0]
        left = wanted - columns @ np.minimum(weights, (MAX_TAG_WEIGHT, MAX_RESIDUAL_WEIGHT))
        error = float(np.mean(left**2))
        if error < least:
            sure = np.clip(weights - _errors(columns, left), 0.0, (MAX_TAG_WEIGHT, MAX_RESIDUAL_WEIGHT))
            best, least = BlendWeights(float(sure[0]), float(sure[1]), penalty), error
    best = best if beta is None else replace(best, residual=beta)
    scores = blend(found, best)
    better = (wanted**2 - (wanted - from_tags) ** 2).sum(axis=1)
    # Less error is not yet a better choice, so that a gain counts twice.
    evidence = max(_deviations(better), 2.0 * _deviations(_gains(scores, rewards)))
    return replace(best, evidence=evidence, temperature=fit_temperature(scores, rewards))


def _errors(columns: Floats, left: Floats) -> Floats:
    """(k,) standard errors of k weights: columns (n, m, k), residuals (n, m); the m cells of a query go together.

    The sandwich estimate (Liang & Zeger 1986).
    """
    scores = np.einsum("nmk,nm->nk", columns, left)
    bread = np.linalg.pinv(np.einsum("nmk,nml->kl", columns, columns))
    return np.sqrt(np.maximum(np.diag(bread @ (scores.T @ scores) @ bread), 0.0))


def _deviations(values: Floats) -> float:
    """How many standard errors the mean of n values is from 0; 0 for one value."""
    error = float(np.std(values, ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else np.inf
    mean = float(np.mean(values))
    return mean / error if error > 0.0 else float(np.sign(mean)) * np.inf if mean else 0.0


def fit_tag_weights(found: OutOfFold, rewards: Rewards, view: Tags, weights: BlendWeights) -> dict[str, float]:
    """Tag → weight of the residual on its queries: a least-squares slope, shrunk to the weight of all by its noise.

    Empirical Bayes (Efron & Morris 1973): slope_t ~ N(β_t, σ²/Σx²) and β_t ~ N(β, τ²), τ² by moments.

    Args:
        view: tags (n, t) of the same queries; those that `start.frequent` keeps get a weight.
    """
    view, observed = frequent_tags(view), rewards.observed
    x = _differences(found.residual[weights.penalty], observed)
    base = found.overall + weights.tags * (found.of_tags - found.overall)
    left = _differences(rewards.values - base, observed)
    error = float(np.mean((left - weights.residual * x)[observed] ** 2))
    xx = view.membership.T @ (x**2).sum(axis=1) + 1e-12
    slope = (view.membership.T @ (x * left).sum(axis=1)) / xx
    noise = error / xx
    between = float(np.sum(xx * ((slope - weights.residual) ** 2 - noise)) / xx.sum()) if len(xx) else 0.0
    between = max(between, 0.0)
    shrunk = (between * slope + noise * weights.residual) / (between + noise)
    return dict(zip(view.names, np.clip(shrunk, 0.0, MAX_RESIDUAL_WEIGHT).tolist(), strict=True))


def select_temperature(z: Tensor, rewards: Rewards, views: Sequence[Tags], smoothing: TagSmoothing, seed: int) -> float:
    """The labels' temperature whose out-of-fold choices earn most: the largest within one standard error of the best.

    A choice by mean softened rewards is that by mean rewards only at large temperatures, which therefore win ties.
    """
    observed, m = rewards.observed, len(rewards.candidates)
    softened = []
    for temperature in TEMPERATURES:
        prior = replace(smoothing, beta=1.0, temperature=temperature).fit(rewards, Tags.none(len(rewards.values)))
        softened.append(np.where(observed, prior.own(rewards).values, np.nan))
    names = tuple(f"{name} {k}" for k in range(len(softened)) for name in rewards.candidates)
    together = cross_fit(z, Rewards(np.hstack(softened), names), views, seed)
    order, earned = rank_by_mean_reward(rewards), []
    for k, values in enumerate(softened):
        mine = slice(k * m, (k + 1) * m)
        residual = {penalty: found[:, mine] for penalty, found in together.residual.items()}
        found = OutOfFold(together.overall[mine], together.of_tags[:, mine], residual)
        scores = blend(found, fit_blend_weights(found, Rewards(values, rewards.candidates)))
        earned.append(rewards.values[np.arange(len(values)), choose(scores, observed, order)])
    best = max(earned, key=np.mean)
    lead = [best - other for other in earned]
    close = [float(d.mean()) <= float(d.std()) / np.sqrt(len(d)) for d in lead]
    return TEMPERATURES[close.index(True)]


def blend(found: OutOfFold, weights: BlendWeights) -> Floats:
    """(n, m) out-of-fold rewards expected with these weights."""
    from_tags = found.overall + weights.tags * (found.of_tags - found.overall)
    return np.asarray(from_tags + weights.residual * found.residual[weights.penalty])


def fit_temperature(scores: Floats, rewards: Rewards) -> float:
    """The temperature at which softmax(scores / temperature) best foretells which candidate is best, ties shared.

    Temperature scaling (Guo et al. 2017, §4.2): least mean negative log-likelihood; in units of the scores.
    """
    observed = rewards.observed
    share = best_shares(rewards).values
    unit = float(np.std(_differences(scores, observed)[observed])) or 1.0

    def loss(log_t: float) -> float:
        log_p = log_softmax(np.where(observed, scores / np.exp(log_t), -1e9), axis=1)
        return float(-(share * log_p).sum(axis=1).mean())

    ends = np.log([MIN_TEMPERATURE * unit, MAX_TEMPERATURE * unit])
    return float(np.exp(minimize_scalar(loss, bounds=tuple(ends), method="bounded").x))


def _gains(scores: Floats, rewards: Rewards) -> Floats:
    """(n,) rewards of choices by scores (n, m), less those of the best single model."""
    order, rows = rank_by_mean_reward(rewards), np.arange(len(scores))
    routed = choose(scores, rewards.observed, order)
    single = choose(np.zeros(scores.shape), rewards.observed, order)
    return np.asarray(rewards.values[rows, routed] - rewards.values[rows, single])


def _of_tags(z: Tensor, at: Tensor, rewards: Rewards, views: Sequence[Tags]) -> tuple[Floats, Floats]:
    """(n, m) and (k, m): rewards expected from probable tags, at the queries fitted on and at others."""
    overall = np.nan_to_num(rewards.column_means())
    found = np.zeros((len(z), len(overall))), np.zeros((len(at), len(overall)))
    for view in views:
        linear = nn.Linear(z.shape[1], len(view.names))
        fit_classifier(linear, z, view)
        means = tag_reward_means(rewards, view)
        with torch.no_grad():
            for total, x in zip(found, (z, at), strict=True):
                total += linear(x).softmax(dim=-1).double().numpy() @ means / len(views)
    return found if views else (found[0] + overall, found[1] + overall)


def _differences(values: Floats, observed: np.ndarray) -> Floats:
    """Values minus their mean over a query's observed candidates; 0 where there is no reward."""
    filled = np.where(observed, values, 0.0)
    mean = filled.sum(axis=1, keepdims=True) / np.maximum(observed.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.where(observed, values - mean, 0.0))
