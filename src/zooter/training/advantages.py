"""Advantages of candidates over the best single model, and the weights with which a router believes them.

A candidate's advantage on a query is its reward less that of the best single model. Predictions of rewards can be good
because they predict how hard a query is, which all candidates share, and yet say nothing of who is better on it. Only
advantages matter to a choice, so each candidate's are weighted by how well they come true out of fold. A router then
leaves the best single model only for candidates whose predicted advantages have proved true beyond chance. Between
near-equal candidates few pass that test alone, and little is lost by a wrong choice: where choices by all predicted
advantages, as they are, earn more out of fold, these are taken (`select_advantage_weights`).
n is the number of queries, m of candidates.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from zooter.data.types import Floats, Rewards
from zooter.metrics.baselines import rank_by_mean_reward
from zooter.metrics.per_tag import finite_or_none
from zooter.metrics.routing import best_candidates

FOLDS = 3
DIVISIONS = 3  # into folds, that out-of-fold gains are averaged over
MAX_WEIGHT = 1.2  # larger weights have been chance
STANDARD_ERRORS = 2.0  # that a slope must clear (docs/log.md compares it with shrinking slopes); a gain, to be clear
MIN_GAIN, MIN_LEAD = 1.5, 1.0  # standard errors that choices by unweighted advantages must earn more than others
MIN_LEFT_OUT = 1e-9  # share of the regressor's squares that other queries have; less is rounding

Array = TypeVar("Array", Floats, Tensor)


@dataclass(frozen=True)
class AdvantageWeights:
    """Weights of candidates' predicted advantages over the best single model.

    Attributes:
        best_single: its column.
        values: (m,) weight of each candidate's predicted advantage, against its mean advantage over all queries: 0
            predicts the mean advantage for every query, so that the candidate is never chosen. `MAX_WEIGHT` at most; 1
            for all where advantages are taken as they are.
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
        threshold: standard errors that a slope must clear for a weight above 0; 0 where all are taken as they
            are predicted.
    """

    gain: float
    standard_error: float
    share_rerouted: float
    candidates: Mapping[str, Mapping[str, float]]
    threshold: float = STANDARD_ERRORS

    @property
    def is_clear(self) -> bool:
        """Whether the gain is more than `STANDARD_ERRORS` standard errors above 0."""
        return self.gain > STANDARD_ERRORS * self.standard_error

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


def select_advantage_weights(predicted: Floats, rewards: Rewards) -> tuple[AdvantageWeights, GateEvidence]:
    """Weight advantages by their slopes, or take them as they are where choices by them earn more out of fold.

    They are taken as they are if these choices earn `MIN_GAIN` standard errors more than the best single model, and
    `MIN_LEAD` more than choices by weighted advantages. Weights, mean rewards and the best single model are fitted
    on other folds: a best single model chosen on the same queries would look better than it is.

    Args:
        predicted: (n, m) expected rewards of the queries, by models that were fitted without them.
        rewards: (n, m).

    Returns:
        The weights, and what choices by them earn against the best single model, on queries not fitted on.
    """
    weighted, unweighted = (_gains_out_of_fold(predicted, rewards, fit) for fit in (fit_advantage_weights, _unweighted))
    is_unweighted = _clears(unweighted, MIN_GAIN) and _clears(unweighted - weighted, MIN_LEAD)
    gains, fit = (unweighted, _unweighted) if is_unweighted else (weighted, fit_advantage_weights)
    n, weights = len(predicted), fit(predicted, rewards)
    rows = zip(
        rewards.candidates,
        *(a.tolist() for a in (weights.slopes, weights.standard_errors, weights.values)),
        strict=True,
    )
    evidence = GateEvidence(
        gain=float(gains.mean()),
        standard_error=float(gains.std(ddof=1) / np.sqrt(n)) if n > 1 else np.inf,
        share_rerouted=float(_gains(predicted, rewards, rewards, weights)[1].mean()),
        candidates={
            name: {"slope": slope, "standard_error": error, "weight": weight} for name, slope, error, weight in rows
        },
        threshold=0.0 if is_unweighted else STANDARD_ERRORS,
    )
    return weights, evidence


def _unweighted(predicted: Floats, rewards: Rewards) -> AdvantageWeights:
    """Weights that leave advantages as they are."""
    return replace(fit_advantage_weights(predicted, rewards), values=np.ones(predicted.shape[1]))


def _clears(gains: Floats, standard_errors: float) -> bool:
    """Whether the mean of gains (n,) is so many standard errors above 0."""
    return bool(gains.mean() > standard_errors * gains.std() / np.sqrt(len(gains)))


def _gains_out_of_fold(
    predicted: Floats, rewards: Rewards, fit: Callable[[Floats, Rewards], AdvantageWeights]
) -> Floats:
    """(n,) rewards of choices less the best single model's, by weights fitted on other folds; 0 for one query."""
    n, gains = len(predicted), np.zeros(len(predicted))
    centred = predicted - np.nan_to_num(rewards.column_means())
    for seed in range(DIVISIONS if n > 1 else 0):
        fold = np.random.default_rng(seed).permutation(n) % min(n, FOLDS)
        for k in range(fold.max() + 1):
            test, training = np.flatnonzero(fold == k), rewards.take(np.flatnonzero(fold != k))
            # Around the means of the other folds: those of all queries would tell which candidate is best on these.
            from_others = centred + np.nan_to_num(training.column_means())
            weights = fit(from_others[fold != k], training)
            gains[test] += _gains(from_others[test], rewards.take(test), training, weights)[0] / DIVISIONS
    return gains


def _gains(
    predicted: Floats, rewards: Rewards, training: Rewards, weights: AdvantageWeights
) -> tuple[Floats, np.ndarray]:
    """(n,) rewards of choices less those of the training queries' best single model, and where they differ."""
    order, rows = rank_by_mean_reward(training), np.arange(len(predicted))
    scores = weigh_advantages(predicted, np.nan_to_num(training.column_means()), weights)
    routed = best_candidates(scores, rewards.observed, order)
    single = best_candidates(np.zeros(scores.shape), rewards.observed, order)
    return rewards.values[rows, routed] - rewards.values[rows, single], routed != single
