"""Advantages of candidates over the best single model, and the weights with which a router believes them.

A candidate's advantage on a query is its reward less that of the best single model. Predictions of rewards can be good
because they foretell how hard a query is, which all candidates share, and yet say nothing of who is better on it. Only
advantages matter to a choice, so each candidate's are weighted by how well they come true out of fold. A router then
leaves the best single model only for candidates whose predicted advantages have proved true beyond chance.
n is the number of queries, m of candidates.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from zooter.data.types import Floats, Rewards
from zooter.metrics.baselines import rank_by_mean_reward
from zooter.metrics.per_tag import finite_or_none
from zooter.metrics.routing import best_candidates

FOLDS = 3
MAX_WEIGHT = 1.2  # larger weights have been chance
STANDARD_ERRORS = 2.0  # that a slope must clear (docs/log.md compares it with shrinking slopes)
MIN_LEFT_OUT = 1e-9  # share of the regressor's squares that other queries have; less is rounding

Array = TypeVar("Array", Floats, Tensor)


@dataclass(frozen=True)
class AdvantageWeights:
    """Weights of candidates' predicted advantages over the best single model.

    Attributes:
        best_single: its column.
        values: (m,) weight of each candidate's predicted advantage, against its mean advantage over all queries: 0
            predicts the mean advantage for every query, so that the candidate is never chosen. `MAX_WEIGHT` at most.
        slopes: (m,) of true on predicted advantages.
        standard_errors: (m,) of the slopes.
    """

    best_single: int
    values: Floats
    slopes: Floats
    standard_errors: Floats

    def apply(self, centred: Array) -> Array:
        """Weight predicted advantages.

        Args:
            centred: (..., m) predicted rewards less the candidates' mean rewards.

        Returns:
            The same for the best single model; for another candidate, the best single model's plus the weighted
            difference from it.
        """
        single = centred[..., self.best_single, None]
        weights = self.values if isinstance(centred, np.ndarray) else centred.new_tensor(self.values)
        return single + weights * (centred - single)


@dataclass(frozen=True)
class GateEvidence:
    """What choices of a router earn out of fold, against the best single model.

    Attributes:
        gain: mean reward of the choices less that of the best single model; both are fitted on other folds.
        standard_error: of the gain.
        share_rerouted: share of queries on which a router with the final weights chooses another candidate. The gate
            opens if it is above 0: a candidate is chosen only if its weighted advantage is.
        candidates: candidate → "slope" of its true on its predicted advantages, its "standard_error" and the "weight"
            that follows.
        threshold: standard errors that a slope must clear for a weight above 0.
    """

    gain: float
    standard_error: float
    share_rerouted: float
    candidates: Mapping[str, Mapping[str, float]]
    threshold: float = STANDARD_ERRORS

    @property
    def is_clear(self) -> bool:
        """Whether the gain is more than `threshold` standard errors above 0."""
        return self.gain > self.threshold * self.standard_error

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON; what is infinite, where a slope rests on one query, is None."""
        fields = asdict(self)
        fields["standard_error"] = finite_or_none(self.standard_error)
        fields["candidates"] = {
            name: {key: finite_or_none(value) for key, value in values.items()}
            for name, values in self.candidates.items()
        }
        return fields


def fit_advantage_weights(predicted: Floats, rewards: Rewards) -> AdvantageWeights:
    """Fit each candidate's weight: the slope of true on predicted advantages, where it clears its own uncertainty.

    Advantages count from their means over all queries. On a query without a reward of the best single model, the best
    of the candidates that have one, by mean reward, stands for it. A slope that is not `STANDARD_ERRORS` above 0 gives
    no weight, which also guards against the winner's curse: of many candidates, those whose advantages are foretold
    by chance are never chosen. Standard errors are robust to unequal variances and to few queries (HC3, MacKinnon &
    White 1985).

    Args:
        predicted: (n, m) expected rewards of the queries, by models that were fitted without them.
        rewards: (n, m).
    """
    overall, order = np.nan_to_num(rewards.column_means()), rank_by_mean_reward(rewards)
    rows = np.arange(len(predicted))
    single = best_candidates(np.zeros(predicted.shape), rewards.observed, order)
    compared = rewards.observed.copy()
    compared[rows, single] = False
    x, y = (
        np.where(compared, values - values[rows, single][:, None], 0.0)
        for values in (predicted - overall, np.nan_to_num(rewards.values) - overall)
    )
    xx = (x**2).sum(axis=0)
    slopes = np.divide((x * y).sum(axis=0), xx, out=np.zeros_like(xx), where=xx > 0.0)
    errors = _standard_errors(x, y - slopes * x)
    values = np.where(slopes > STANDARD_ERRORS * errors, np.minimum(slopes, MAX_WEIGHT), 0.0)
    return AdvantageWeights(int(order[0]), values, slopes, errors)


def _standard_errors(x: Floats, residuals: Floats) -> Floats:
    """(m,) standard errors of slopes through the origin, from (n, m) regressors and residuals; HC3."""
    xx = np.maximum((x**2).sum(axis=0), np.finfo(float).tiny)
    left_out = 1.0 - x**2 / xx  # of a query on which the slope rests alone: nothing, and the error is infinite
    scores = np.divide(x * residuals, left_out, out=np.full_like(x, np.inf), where=left_out > MIN_LEFT_OUT)
    return np.sqrt((scores**2).sum(axis=0)) / xx


def weigh_advantages(predicted: Floats, overall: Floats, weights: AdvantageWeights) -> Floats:
    """Weight the advantages in predicted rewards (n, m), given the candidates' mean rewards (m,)."""
    return overall + weights.apply(predicted - overall)


def collect_evidence(predicted: Floats, rewards: Rewards, weights: AdvantageWeights) -> GateEvidence:
    """Measure what choices by weighted advantages earn against the best single model, on queries not fitted on.

    Weights, mean rewards and the best single model are fitted on other folds. A best single model chosen on the same
    queries would look better than it is.

    Args:
        predicted: (n, m) expected rewards of the queries, by models that were fitted without them.
        rewards: (n, m).
        weights: fitted on all of these.
    """
    n = len(predicted)
    fold = np.random.default_rng(0).permutation(n) % min(n, FOLDS)
    gains = np.zeros(n)
    for k in range(fold.max() + 1 if n > 1 else 0):
        test, training = np.flatnonzero(fold == k), rewards.take(np.flatnonzero(fold != k))
        fitted = fit_advantage_weights(predicted[fold != k], training)
        gains[test] = _gains(predicted[test], rewards.take(test), training, fitted)[0]
    _, rerouted = _gains(predicted, rewards, rewards, weights)
    return GateEvidence(
        gain=float(gains.mean()),
        standard_error=float(gains.std(ddof=1) / np.sqrt(n)) if n > 1 else np.inf,
        share_rerouted=float(rerouted.mean()),
        candidates={
            name: {"slope": slope, "standard_error": error, "weight": weight}
            for name, slope, error, weight in zip(
                rewards.candidates,
                *(a.tolist() for a in (weights.slopes, weights.standard_errors, weights.values)),
                strict=True,
            )
        },
    )


def _gains(
    predicted: Floats, rewards: Rewards, training: Rewards, weights: AdvantageWeights
) -> tuple[Floats, np.ndarray]:
    """(n,) rewards of choices less those of the training queries' best single model, and where they differ."""
    order, rows = rank_by_mean_reward(training), np.arange(len(predicted))
    scores = weigh_advantages(predicted, np.nan_to_num(training.column_means()), weights)
    routed = best_candidates(scores, rewards.observed, order)
    single = best_candidates(np.zeros(scores.shape), rewards.observed, order)
    return rewards.values[rows, routed] - rewards.values[rows, single], routed != single
