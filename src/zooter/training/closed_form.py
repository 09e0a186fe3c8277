"""Fit models without a training loop: tag classifiers by L-BFGS, ridge regression in closed form."""

import numpy as np
import torch
from torch import Tensor, nn

from zooter.data.types import Floats, Rewards, Tags
from zooter.training.feature_rows import FeatureRows
from zooter.training.losses import tag_cross_entropy
from zooter.training.tag_means import tag_reward_means

CLASSIFIER_PENALTY = 0.01  # λ of the classifiers: mean cross-entropy + λ/2 · |W|²
LBFGS_STEPS = 40  # further steps changed no choice
MIN_TAG_QUERIES = 5  # training queries that a tag needs to be learned
MAX_TAGS = 300  # tags of one set that are learned, the most frequent ones
RIDGE_PENALTIES = (0.00125, 0.0025, 0.005, 0.0125, 0.025, 0.05, 0.1)  # in shares of the features' variance


def fit_classifier(linear: nn.Linear, z: Tensor | FeatureRows, tags: Tags) -> None:
    """Fit a multinomial logistic regression in place: mean cross-entropy to a query's tags, shared equally among them.

    Args:
        linear: d features → t logits; its weights are overwritten.
        z: (n, d) standardised features.
        tags: (n, t); queries without a tag do not count.
    """
    rows = np.flatnonzero(np.asarray(tags.membership.sum(axis=1)).ravel())
    tagged, membership = FeatureRows.of(z).take(rows), tags.membership[rows]
    weight, bias = linear.weight, linear.bias
    nn.init.zeros_(weight)
    nn.init.zeros_(bias)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=LBFGS_STEPS, history_size=8, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        """Compute the loss and its gradients, as L-BFGS asks for them."""
        optimizer.zero_grad()
        total = CLASSIFIER_PENALTY / 2.0 * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        for chunk, features in tagged.chunks():
            chunk_tags = torch.from_numpy(membership[chunk].toarray()).float()
            loss = tag_cross_entropy(linear(features), chunk_tags) * (len(features) / max(len(rows), 1))
            loss.backward()  # type: ignore[no-untyped-call]
            total = total.detach() + loss.detach()
        return total

    optimizer.step(closure)  # type: ignore[no-untyped-call]


def fit_tag_model(linear: nn.Linear, z: Tensor | FeatureRows, rewards: Rewards, tags: Tags) -> Floats:
    """Fit a tag classifier in place, and the rewards to expect of each tag.

    Args:
        linear: d features → t logits; its weights are overwritten.
        z: (n, d) standardised features.
        rewards: (n, m).
        tags: (n, t).

    Returns:
        (t, m) shrunk mean rewards. A query's expected rewards are its probabilities of the tags times these.
    """
    fit_classifier(linear, z, tags)
    return tag_reward_means(rewards, tags)


def fit_ridge(z: Tensor | FeatureRows, targets: Floats) -> dict[float, Floats]:
    """Fit linear maps from features to targets for all `RIDGE_PENALTIES` at once.

    Minimises the mean squared error + penalty·d·|w|². Where cells are missing, the features' covariance is still that
    of all queries, and a candidate with fewer rewards is penalised more: its rewards count as missing at random.

    Args:
        z: (n, d) standardised features.
        targets: (n, m), such as rewards less what tags predict; NaN where missing.

    Returns:
        penalty → weights (m, d).
    """
    rows = FeatureRows.of(z)
    n, d = rows.shape
    filled = torch.from_numpy(np.nan_to_num(targets))
    moments = torch.zeros(d, filled.shape[1], dtype=torch.float64)
    products = torch.zeros(min(n, d), min(n, d), dtype=torch.float64)
    for chunk, features in rows.chunks():
        wide = features.double()
        moments += wide.T @ filled[chunk]
        products += wide.T @ wide if n >= d else wide @ wide.T  # fewer rows than features are one chunk
    values, vectors = torch.linalg.eigh(products / n)
    if n < d:  # the same decomposition from the smaller product
        positive = values > 1e-9 * values[-1]
        values = values[positive]
        vectors = wide.T @ vectors[:, positive] / (n * values).sqrt()
    share = torch.from_numpy(np.maximum((~np.isnan(targets)).mean(axis=0), 1.0 / n))
    projected = vectors.T @ moments / (n * share)
    return {
        penalty: (vectors @ (projected / (values[:, None] + penalty * d / share))).T.numpy()
        for penalty in RIDGE_PENALTIES
    }


def frequent_tags(tags: Tags) -> Tags:
    """Keep the tags of at least `MIN_TAG_QUERIES` queries, at most `MAX_TAGS` of them, in their order.

    Args:
        tags: (n, t) of training queries.
    """
    counts = np.asarray(tags.membership.sum(axis=0)).ravel()
    columns = np.sort(np.argsort(-counts, kind="stable")[: min(MAX_TAGS, int((counts >= MIN_TAG_QUERIES).sum()))])
    return Tags(tags.membership[:, columns], tuple(tags.names[j] for j in columns))
