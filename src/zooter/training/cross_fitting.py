"""Cross-fitting: out-of-fold predictions of a head, and the weights and temperatures estimated from them.

A head is fitted on some of the training queries and predicts the others, in turn (cross-fitting, Stone 1974; stacking
with non-negative weights, Breiman 1996). Nothing here sees a validation or a test query.
n is the number of training queries, m of candidates, d of features, t of tags.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from scipy.optimize import minimize_scalar, nnls
from scipy.special import log_softmax
from torch import Tensor, nn

from zooter.data.types import Floats, Rewards, Tags
from zooter.metrics.baselines import rank_by_mean_reward
from zooter.metrics.routing import best_candidates, best_shares
from zooter.training.advantages import select_advantage_weights, weigh_advantages
from zooter.training.closed_form import RIDGE_PENALTIES, fit_ridge, fit_tag_model, frequent_tags
from zooter.training.feature_rows import FeatureRows
from zooter.training.head_init import BlendWeights
from zooter.training.labels import TagSmoothing

FOLDS = 3
SMALL_TABLE, SMALL_TABLE_FOLDS = 1_000, 10  # below so many queries, more folds leave more of them to fit on
MAX_TAG_WEIGHT, MAX_RESIDUAL_WEIGHT = 1.2, 1.0  # larger weights have been chance
MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-2, 1e2  # bounds of the calibrated temperature, in spreads of the scores
TEMPERATURES = (2.5, 1.0, 0.5, 0.25)  # candidates for the labels' temperature, in spreads of the rewards


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for n training queries by heads that were fitted without them.

    Attributes:
        overall: (m,) mean rewards of all training queries.
        from_tags: (n, m) rewards expected from probable tags.
        residual: penalty → (n, m) what the ridge adds.
        set_shares: (k,) share of each set of tags in `from_tags`, of sum 1; 1 without tags.
    """

    overall: Floats
    from_tags: Floats
    residual: dict[float, Floats]
    set_shares: Floats = field(default_factory=lambda: np.ones(1))

    def shrunk_from_tags(self, weight: float) -> Floats:
        """Pull what tags predict towards the overall means: (n, m); 1 leaves it as it is, 0 gives the means."""
        return self.overall + weight * (self.from_tags - self.overall)

    def blend(self, weights: BlendWeights) -> Floats:
        """Combine tags and ridge with these weights: (n, m) expected rewards."""
        blended = self.shrunk_from_tags(weights.tags) + weights.residual * self.residual[weights.penalty]
        return blended if weights.advantages is None else weigh_advantages(blended, self.overall, weights.advantages)


def cross_fit(z: Tensor | FeatureRows, rewards: Rewards, tag_sets: Sequence[Tags], seed: int) -> OutOfFold:
    """Predict the rewards of each training query from the other folds.

    Args:
        z: (n, d) standardised features.
        rewards: (n, m).
        tag_sets: tags (n, t) of the same queries; only frequent tags are learned (`closed_form.frequent_tags`).
        seed: of the folds.
    """
    z, (n, m) = FeatureRows.of(z), rewards.values.shape
    folds = min(n, FOLDS if n >= SMALL_TABLE else SMALL_TABLE_FOLDS)
    fold = np.random.default_rng(seed).permutation(n) % folds
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]
    tag_sets = [tags for tags in map(frequent_tags, tag_sets) if tags.names]
    by_set = np.zeros((max(1, len(tag_sets)), n, m))
    tag_models = []
    for train, test in splits:
        tag_models.append(_fit_tag_models(z.take(train), rewards.take(train), [tags.take(train) for tags in tag_sets]))
        by_set[:, test] = _predict_from_tags(tag_models[-1], z.take(test))
    shares = fit_set_shares(by_set, rewards)
    residual = {penalty: np.zeros((n, m)) for penalty in RIDGE_PENALTIES}
    for (train, test), models in zip(splits, tag_models, strict=True):
        z_train, z_test = z.take(train), z.take(test)
        left_open = rewards.values[train] - np.tensordot(shares, _predict_from_tags(models, z_train), axes=1)
        for penalty, weights in fit_ridge(z_train, left_open).items():
            residual[penalty][test] = z_test.map(partial(_linear, torch.from_numpy(weights)))
    overall = np.nan_to_num(rewards.column_means())
    return OutOfFold(overall, np.tensordot(shares, by_set, axes=1), residual, shares)


def _linear(weights: Tensor, z: Tensor) -> Tensor:
    """(b, m) products of features (b, d) and weights (m, d), in float64."""
    return z.double() @ weights.T


def _fit_tag_models(z: FeatureRows, rewards: Rewards, tag_sets: Sequence[Tags]) -> list[tuple[nn.Linear, Floats]]:
    """Fit a classifier and mean rewards (t, m) to each set of tags; without any, to one tag that all queries have."""
    models = []
    for tags in tag_sets:
        linear = nn.Linear(z.shape[1], len(tags.names))
        models.append((linear, fit_tag_model(linear, z, rewards, tags)))
    return models or [(nn.Linear(z.shape[1], 1), np.nan_to_num(rewards.column_means())[None])]


def _predict_from_tags(models: Sequence[tuple[nn.Linear, Floats]], z: FeatureRows) -> Floats:
    """Rewards (k, n, m) expected from the probable tags of each of k sets.

    The same model as `Head.tag_rewards`, but in float64: a head keeps its means as float32 parameters, which would move
    the estimated weights.
    """
    return np.stack([z.map(partial(_probabilities, linear)) @ means for linear, means in models])


def _probabilities(linear: nn.Linear, z: Tensor) -> Tensor:
    """(b, t) probabilities of tags from features (b, d)."""
    return linear(z).softmax(dim=-1)


def fit_set_shares(by_set: Floats, rewards: Rewards) -> Floats:
    """Fit the shares of tag sets by non-negative least squares on differences between candidates.

    Args:
        by_set: (k, n, m) rewards expected from each set alone, for queries that it was not fitted on.
        rewards: (n, m) of the same queries.

    Returns:
        (k,) of sum 1; equal ones where no set predicts anything.
    """
    if len(by_set) == 1:
        return np.ones(1)
    overall, observed = np.nan_to_num(rewards.column_means()), rewards.observed
    columns = np.stack([_centre(predicted - overall, observed) for predicted in by_set], axis=2)
    targets = _centre(rewards.values - overall, observed)
    weights = nnls(columns.reshape(-1, len(by_set)), targets.ravel())[0]
    return np.asarray(weights / weights.sum() if weights.any() else np.full(len(by_set), 1.0 / len(by_set)))


def fit_blend_weights(out_of_fold: OutOfFold, rewards: Rewards, beta: float | None = None) -> BlendWeights:
    """Fit weights by non-negative least squares on differences between candidates, less one standard error each.

    The ridge's penalty is the one with the least error. Subtracting one standard error guards against chance (the rule
    of Breiman et al. 1984, §3.4.3): with many queries it hardly matters, with few the mean rewards prevail.

    Args:
        out_of_fold: predictions for the n queries.
        rewards: (n, m) of the same queries.
        beta: replaces the residual's weight, when given.

    Returns:
        Weights of the parts and of candidates' advantages, evidence and calibrated temperature; no weight by tag.
    """
    observed = rewards.observed
    targets = _centre(rewards.values - out_of_fold.overall, observed)
    from_tags = _centre(out_of_fold.from_tags - out_of_fold.overall, observed)
    upper = (MAX_TAG_WEIGHT, MAX_RESIDUAL_WEIGHT)
    best, least_error = BlendWeights(), np.inf
    for penalty, residual in out_of_fold.residual.items():
        columns = np.stack([from_tags, _centre(residual, observed)], axis=2)
        fitted = nnls(columns.reshape(-1, 2), targets.ravel())[0]
        errors = targets - columns @ np.minimum(fitted, upper)
        error = float(np.mean(errors**2))
        if error < least_error:
            tags_weight, residual_weight = np.clip(fitted - _standard_errors(columns, errors), 0.0, upper)
            best, least_error = BlendWeights(float(tags_weight), float(residual_weight), penalty), error
    best = best if beta is None else replace(best, residual=beta)
    advantages, evidence = select_advantage_weights(out_of_fold.blend(best), rewards)
    best = replace(best, advantages=advantages, evidence=evidence)
    return replace(best, temperature=calibrate_temperature(out_of_fold.blend(best), rewards))


def fit_tag_weights(out_of_fold: OutOfFold, rewards: Rewards, tags: Tags, weights: BlendWeights) -> dict[str, float]:
    """Fit the residual's weight of each tag: a least-squares slope, shrunk to the weight of all by its noise.

    Empirical Bayes (Efron & Morris 1973): slope_t ~ N(β_t, σ²/Σx²) and β_t ~ N(β, τ²), τ² by moments.

    Args:
        out_of_fold: predictions for the n queries.
        rewards: (n, m) of the same queries.
        tags: (n, t) of the same queries; frequent tags get a weight (`closed_form.frequent_tags`).
        weights: of all queries, by `fit_blend_weights`.

    Returns:
        tag → weight in [0, `MAX_RESIDUAL_WEIGHT`].
    """
    tags, observed = frequent_tags(tags), rewards.observed
    x = _centre(out_of_fold.residual[weights.penalty], observed)
    y = _centre(rewards.values - out_of_fold.shrunk_from_tags(weights.tags), observed)
    error = float(np.mean((y - weights.residual * x)[observed] ** 2))
    xx = tags.membership.T @ (x**2).sum(axis=1) + 1e-12
    slope = (tags.membership.T @ (x * y).sum(axis=1)) / xx
    noise = error / xx
    between = float(np.sum(xx * ((slope - weights.residual) ** 2 - noise)) / xx.sum()) if len(xx) else 0.0
    between = max(between, 0.0)
    shrunk = (between * slope + noise * weights.residual) / (between + noise)
    return dict(zip(tags.names, np.clip(shrunk, 0.0, MAX_RESIDUAL_WEIGHT).tolist(), strict=True))


def select_temperature(
    z: Tensor | FeatureRows, rewards: Rewards, tag_sets: Sequence[Tags], smoothing: TagSmoothing, seed: int
) -> float:
    """Select the labels' temperature whose out-of-fold choices earn most: the largest within a standard error of it.

    Only at large temperatures is the candidate with the best mean softened reward the one with the best mean reward,
    so that larger ones win ties.

    Args:
        z: (n, d) standardised features.
        rewards: (n, m).
        tag_sets: tags (n, t) of the same queries.
        smoothing: the other settings of labels.
        seed: of the folds.

    Returns:
        One of `TEMPERATURES`, in the smoothing's unit.
    """
    observed, m = rewards.observed, len(rewards.candidates)
    softened = []
    for temperature in TEMPERATURES:
        prior = replace(smoothing, beta=1.0, temperature=temperature).fit(rewards, Tags.empty(len(rewards.values)))
        softened.append(np.where(observed, prior.own_labels(rewards).values, np.nan))
    # One fit for all temperatures: the softened rewards of each are further columns.
    names = tuple(f"{name} {k}" for k in range(len(softened)) for name in rewards.candidates)
    stacked = cross_fit(z, Rewards(np.hstack(softened), names), tag_sets, seed)
    order, earned = rank_by_mean_reward(rewards), []
    for k, values in enumerate(softened):
        columns = slice(k * m, (k + 1) * m)
        residual = {penalty: predictions[:, columns] for penalty, predictions in stacked.residual.items()}
        out_of_fold = OutOfFold(stacked.overall[columns], stacked.from_tags[:, columns], residual)
        scores = out_of_fold.blend(fit_blend_weights(out_of_fold, Rewards(values, rewards.candidates)))
        earned.append(rewards.values[np.arange(len(values)), best_candidates(scores, observed, order)])
    best = max(earned, key=np.mean)
    deficits = [best - rewards_earned for rewards_earned in earned]
    close = [float(d.mean()) <= float(d.std()) / np.sqrt(len(d)) for d in deficits]
    return TEMPERATURES[close.index(True)]


def calibrate_temperature(scores: Floats, rewards: Rewards) -> float:
    """Find the temperature T at which softmax(scores / T) best predicts which candidate is best; ties are shared.

    Temperature scaling (Guo et al. 2017, §4.2): least mean negative log-likelihood.

    Args:
        scores: (n, m) expected rewards.
        rewards: (n, m) of the same queries.

    Returns:
        T, in units of the scores.
    """
    observed = rewards.observed
    share = best_shares(rewards).values
    unit = float(np.std(_centre(scores, observed)[observed])) or 1.0

    def loss(log_t: float) -> float:
        """Compute the mean negative log-likelihood at a temperature, given by its logarithm."""
        log_p = log_softmax(np.where(observed, scores / np.exp(log_t), -1e9), axis=1)
        return float(-(share * log_p).sum(axis=1).mean())

    bounds = np.log([MIN_TEMPERATURE * unit, MAX_TEMPERATURE * unit])
    return float(np.exp(minimize_scalar(loss, bounds=tuple(bounds), method="bounded").x))


def _standard_errors(columns: Floats, errors: Floats) -> Floats:
    """(k,) standard errors of k weights, from columns (n, m, k) and errors (n, m), clustered by query.

    The sandwich estimate (Liang & Zeger 1986).
    """
    scores = np.einsum("nmk,nm->nk", columns, errors)
    bread = np.linalg.pinv(np.einsum("nmk,nml->kl", columns, columns))
    return np.sqrt(np.maximum(np.diag(bread @ (scores.T @ scores) @ bread), 0.0))


def _centre(values: Floats, observed: np.ndarray) -> Floats:
    """Values (n, m) minus their mean over a query's observed candidates; 0 where there is no reward."""
    filled = np.where(observed, values, 0.0)
    mean = filled.sum(axis=1, keepdims=True) / np.maximum(observed.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.where(observed, values - mean, 0.0))
