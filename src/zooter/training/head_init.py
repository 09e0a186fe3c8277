"""Where a head starts from: standardised features, tag classifiers, and the tags' mean rewards.

All of it is fitted at once on the training queries; gradient steps then train the correction (and the encoder).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zooter.data.types import Floats, Rewards, Tags
from zooter.router.net import Head
from zooter.training.closed_form import RIDGE_PENALTIES, fit_classifier, fit_ridge, frequent_tags
from zooter.training.labels import tag_reward_means
from zooter.training.tagger.cluster import ClusterTagger

EVIDENCE_THRESHOLD = (
    6.0  # standard errors of the error saved: 100 queries seldom have them, and chose badly; 200 have them
)


@dataclass(frozen=True)
class BlendWeights:
    """How far predictions are borne out by queries that they were not fitted on (`crossfit.trust`).

    Attributes:
        tags: weight of what tags tell, against the mean of all; 1 takes it as it is.
        residual: weight of the ridge on what tags leave open. This is the β of labels: a ridge fitted to rewards
            smoothed with β, β·r + (1−β)·tag's mean, is tags' mean + β·(ridge fitted to rewards − tags' mean).
        penalty: of that ridge.
        evidence: that routing pays: by how many standard errors tags foretell rewards with less squared error than mean
            rewards do, or twice those by which out-of-fold choices earn more than the best single model, the larger.
        temperature: in units of the reward; rewards divided by it are the logits of calibrated probabilities.
        of_tag: tag → weight of the residual on its queries, when every tag has its own.
    """

    tags: float = 1.0
    residual: float = 0.0
    penalty: float = RIDGE_PENALTIES[-1]
    evidence: float = math.inf
    temperature: float = 1.0
    of_tag: Mapping[str, float] | None = None

    @property
    def routes(self) -> bool:
        """Whether the evidence is ENOUGH; if not, the best single model answers."""
        return self.evidence > EVIDENCE_THRESHOLD


def learnable_tag_sets(views: Sequence[Tags]) -> list[Tags]:
    """The tags of each view that a head learns to tell, and the views that have any."""
    return [view for view in map(frequent_tags, views) if view.names]


def init_head(
    features: Tensor, rewards: Rewards, views: Sequence[Tags], temperature: float, width: int, dropout: float
) -> Head:
    """A head for training queries: features (n, d), rewards (n, m), and tags (n, t) of each view.

    Args:
        temperature: of the labels, in units of the reward.
    """
    views = learnable_tag_sets(views)
    d, m = features.shape[1], len(rewards.candidates)
    head = Head(d, m, [len(view.names) for view in views], width, dropout)
    head.mean = features.mean(dim=0)
    head.scale = features.std(dim=0, correction=0) + 1e-3  # a constant feature stays 0
    head.temperature = torch.tensor(float(temperature))
    head.overall = torch.from_numpy(np.nan_to_num(rewards.column_means())).float()
    z = head.standardise(features)
    for view, linear, means in zip(views, head.classifiers, head.rewards, strict=True):
        assert isinstance(linear, nn.Linear)
        fit_classifier(linear, z, view)
        means.data = torch.from_numpy(tag_reward_means(rewards, view)).float()
    return head


def fit_residual_ridges(head: Head, features: Tensor, rewards: Rewards) -> dict[float, Floats]:
    """Penalty → weights (m, d) of the ridge on what a head's tags leave open, for all that `apply_weights` may choose.

    Args:
        features: (n, d) of the queries that the head was started on, with their rewards (n, m).
    """
    z = head.standardise(features)
    with torch.no_grad():
        return fit_ridge(z, rewards.values - head.from_tags(z).double().numpy())


def apply_weights(head: Head, residual: Mapping[float, Floats], views: Sequence[Tags], weights: BlendWeights) -> None:
    """Give what tags tell and the ridge on the rest their weights, in place; and the calibrated temperature.

    Args:
        residual: the head's `fit_residual_ridges`.
        views: those that it was started on.
    """
    with torch.no_grad():
        head.residual = torch.from_numpy(residual[weights.penalty]).float().contiguous()
        of_tag = weights.of_tag or {}
        names = learned_tag_names(views)
        if names:
            head.shares = torch.tensor([float(of_tag.get(name, weights.residual)) for name in names])
        else:
            head.residual *= weights.residual
        for means in head.rewards:
            means.data = head.overall + weights.tags * (means.data - head.overall)
    head.calibration = torch.tensor(float(weights.temperature))


def fall_back_to_best_single(head: Head) -> None:
    """Make the head say the mean rewards for every query: always the best single model."""
    for means in head.rewards:
        means.data = head.overall.expand_as(means).clone()
    head.residual = torch.zeros_like(head.residual)
    for parameter in head.correction.parameters():
        nn.init.zeros_(parameter)


def cluster_tags(queries: Sequence[str], embeddings: NDArray[np.float32], seed: int) -> Tags:
    """A view of clusters of these queries: texts and embeddings (n, e)."""
    none = Tags.none(len(queries))
    # Another seed than the tagger's: when clusters are the tags, this is a second opinion and not a copy.
    tagger = ClusterTagger(seed=seed + 1).fit(queries, embeddings, none)
    return tagger.tag(queries, embeddings, none)


def learned_tag_names(views: Sequence[Tags]) -> tuple[str, ...]:
    """The names of the tags that a head started on these views tells (`Head.tags`)."""
    return next((view.names for view in learnable_tag_sets(views)), ())
