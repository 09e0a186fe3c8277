"""Fits at once what needs no gradient steps: the tag classifiers and the ridge, for `head_init` and `cross_fitting`."""

import numpy as np
import torch
from torch import Tensor, nn

from zooter.data.types import Floats, Tags
from zooter.training.losses import tag_cross_entropy

CLASSIFIER_PENALTY = 0.01  # of the classifiers: mean cross-entropy + PENALTY/2 · |W|²
LBFGS_STEPS = 40  # of L-BFGS; more changes no choice
MIN_TAG_QUERIES = 5  # training queries of a tag that a classifier learns
MAX_TAGS = 300  # tags of a view, the most frequent ones
RIDGE_PENALTIES = (
    0.00125,
    0.0025,
    0.005,
    0.0125,
    0.025,
    0.05,
    0.1,
)  # of the ridge, in shares of the features' variance


def fit_classifier(linear: nn.Linear, z: Tensor, tags: Tags) -> None:
    """Multinomial logistic regression in place: mean cross-entropy to a query's tags, shared equally among them.

    Queries without a tag of the view do not count.
    """
    rows = np.flatnonzero(np.asarray(tags.membership.sum(axis=1)).ravel())
    carried = torch.from_numpy(tags.membership[rows].toarray()).float()
    seen = z[torch.from_numpy(rows)]
    weight, bias = linear.weight, linear.bias
    nn.init.zeros_(weight)
    nn.init.zeros_(bias)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=LBFGS_STEPS, history_size=8, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = tag_cross_entropy(linear(seen), carried) + CLASSIFIER_PENALTY / 2.0 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]


def fit_ridge(z: Tensor, residual: Floats) -> dict[float, Floats]:
    """Penalty → weights (m, d) of a linear map from z (n, d) to what is left of rewards (n, m), NaN where missing.

    Minimises the mean squared error + penalty·d·|w|². Where cells are missing, the features' covariance is still that
    of all queries, and a candidate with fewer rewards is penalised more, as if it had been asked at random.
    """
    n, d = z.shape
    wide = z.double()
    values, vectors = torch.linalg.eigh((wide.T @ wide if n >= d else wide @ wide.T) / n)
    if n < d:  # the same decomposition from the smaller product
        kept = values > 1e-9 * values[-1]
        values = values[kept]
        vectors = wide.T @ vectors[:, kept] / (n * values).sqrt()
    filled = torch.from_numpy(np.nan_to_num(residual))
    share = torch.from_numpy(np.maximum((~np.isnan(residual)).mean(axis=0), 1.0 / n))
    projected = vectors.T @ (wide.T @ filled) / (n * share)
    return {
        penalty: (vectors @ (projected / (values[:, None] + penalty * d / share))).T.numpy()
        for penalty in RIDGE_PENALTIES
    }


def frequent_tags(tags: Tags) -> Tags:
    """The tags that at least LEAST queries carry, at most MOST of them."""
    counts = np.asarray(tags.membership.sum(axis=0)).ravel()
    kept = np.sort(np.argsort(-counts, kind="stable")[: min(MAX_TAGS, int((counts >= MIN_TAG_QUERIES).sum()))])
    return Tags(tags.membership[:, kept], tuple(tags.names[j] for j in kept))
