"""Initialisation of a head: standardised features, tag classifiers, the tags' mean rewards and the residual's ridge.

All of it is fitted at once on the training queries; gradient steps then train the correction (and the encoder).
A tag set is one way to tag the queries: the table's tags, or a clustering.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zooter.data.types import Floats, Rewards, Tags
from zooter.router.net import Head
from zooter.training.advantages import AdvantageWeights, GateEvidence
from zooter.training.closed_form import RIDGE_PENALTIES, fit_ridge, fit_tag_model, frequent_tags
from zooter.training.feature_rows import FeatureRows
from zooter.training.tagger.cluster import ClusterTagger, default_cluster_count


@dataclass(frozen=True)
class BlendWeights:
    """Weights of a head's parts, estimated out of fold (`cross_fitting.fit_blend_weights`).

    Attributes:
        tags: weight of what tags predict, against the mean of all queries; 1 takes it as it is.
        residual: weight of the ridge on what tags leave open. This is the β of labels: a ridge fitted to rewards
            smoothed with β, β·r + (1−β)·tag's mean, is tags' mean + β·(ridge fitted to rewards − tags' mean).
        penalty: of that ridge.
        advantages: weights of each candidate's advantage over the best single model, in the sum of both parts; None
            takes the sum as it is.
        evidence: what choices earn out of fold; None lets the router route.
        temperature: in units of the reward; rewards divided by it are the logits of calibrated probabilities.
        residual_by_tag: tag → weight of the residual on its queries; None gives all tags `residual`.
    """

    tags: float = 1.0
    residual: float = 0.0
    penalty: float = RIDGE_PENALTIES[-1]
    advantages: AdvantageWeights | None = None
    evidence: GateEvidence | None = None
    temperature: float = 1.0
    residual_by_tag: Mapping[str, float] | None = None

    @property
    def routes(self) -> bool:
        """Whether any query is routed; if not, the best single model answers every one."""
        return self.evidence is None or self.evidence.share_rerouted > 0.0


def learnable_tag_sets(tag_sets: Sequence[Tags]) -> list[Tags]:
    """Keep the frequent tags of each set, and the sets that have any."""
    return [tags for tags in map(frequent_tags, tag_sets) if tags.names]


def learned_tag_names(tag_sets: Sequence[Tags]) -> tuple[str, ...]:
    """Name the tags that a head initialised with these sets predicts (`Head.tag_probabilities`): the first set's."""
    return next((tags.names for tags in learnable_tag_sets(tag_sets)), ())


def cluster_tags(queries: Sequence[str], embeddings: NDArray[np.float32], count: int, seed: int) -> list[Tags]:
    """Tag training queries by clusters of their embeddings, in several ways.

    Args:
        queries: n texts.
        embeddings: (n, e).
        count: number of clusterings, from `default_cluster_count` clusters to twice as many.
        seed: of the run; k-means takes the next ones, so that these clusters are no copy of `ClusterTagger`'s.

    Returns:
        (n, t) of each clustering; one cluster for each query.
    """
    no_tags = Tags.empty(len(queries))
    clusters = np.linspace(1.0, 2.0, count) * default_cluster_count(len(queries))
    taggers = [
        ClusterTagger(clusters=round(k), seed=seed + i).fit(queries, embeddings, no_tags)
        for i, k in enumerate(clusters.tolist(), start=1)
    ]
    return [tagger.tag(queries, embeddings, no_tags) for tagger in taggers]


def init_head(
    features: Tensor | FeatureRows,
    rewards: Rewards,
    tag_sets: Sequence[Tags],
    temperature: float,
    width: int,
    dropout: float,
) -> Head:
    """Make a head that predicts each query's probable tags and their mean rewards; no residual, no correction yet.

    Args:
        features: (n, d) of the training queries.
        rewards: (n, m).
        tag_sets: tags (n, t) of each set; rare tags are not learned.
        temperature: of the labels, in units of the reward.
        width: hidden units of the correction.
        dropout: share of hidden units dropped in training.
    """
    tag_sets, features = learnable_tag_sets(tag_sets), FeatureRows.of(features)
    d, m = features.shape[1], len(rewards.candidates)
    head = Head(d, m, [len(tags.names) for tags in tag_sets], width, dropout)
    head.mean, deviation = _mean_and_deviation(features)
    head.scale = deviation + 1e-3  # a constant feature stays 0
    head.temperature = torch.tensor(float(temperature))
    head.overall = torch.from_numpy(np.nan_to_num(rewards.column_means())).float()
    z = features.transformed(head.standardise)
    for tags, linear, means in zip(tag_sets, head.classifiers, head.rewards, strict=True):
        assert isinstance(linear, nn.Linear)
        means.data = torch.from_numpy(fit_tag_model(linear, z, rewards, tags)).float()
    return head


def _mean_and_deviation(features: FeatureRows) -> tuple[Tensor, Tensor]:
    """(d,) mean and standard deviation of features, from those of chunks."""
    sizes, means, variances = zip(
        *((len(chunk), chunk.mean(dim=0), chunk.var(dim=0, correction=0)) for _, chunk in features.chunks()),
        strict=True,
    )
    shares = torch.tensor(sizes)[:, None] / sum(sizes)
    mean = (shares * torch.stack(means)).sum(dim=0)
    variance = (shares * (torch.stack(variances) + (torch.stack(means) - mean).square())).sum(dim=0)
    return mean, variance.sqrt()


def weigh_tag_sets(head: Head, shares: Floats) -> None:
    """Give each tag set its share of what tags predict, in place: of differences from the mean rewards of all queries.

    Args:
        head: of `init_head`, which takes the average of all sets.
        shares: (k,) of sum 1; not used without tags.
    """
    for means, share in zip(head.rewards, shares.tolist(), strict=False):
        means.data = head.overall + len(head.rewards) * share * (means.data - head.overall)


def fit_residual_ridges(head: Head, features: Tensor | FeatureRows, rewards: Rewards) -> dict[float, Floats]:
    """Fit the ridge on what a head's tags leave open, for every penalty that `apply_weights` may be given.

    Args:
        head: of `init_head`, its tag sets weighed, before other weights are applied.
        features: (n, d) of the queries that it was fitted on.
        rewards: (n, m) of the same queries.

    Returns:
        penalty → weights (m, d).
    """
    z = FeatureRows.of(features).transformed(head.standardise)
    with torch.no_grad():
        return fit_ridge(z, rewards.values - z.map(head.tag_rewards))


def apply_weights(
    head: Head, residual: Mapping[float, Floats], tag_sets: Sequence[Tags], weights: BlendWeights
) -> None:
    """Weight a head's tags and residual in place, and set its calibrated temperature.

    Args:
        head: of `init_head`.
        residual: penalty → weights (m, d), the head's `fit_residual_ridges`.
        tag_sets: those that the head was initialised with.
        weights: of its parts.
    """
    advantages = weights.advantages
    with torch.no_grad():
        head.residual = torch.from_numpy(residual[weights.penalty]).float().contiguous()
        residual_by_tag = weights.residual_by_tag or {}
        names = learned_tag_names(tag_sets)
        if names:
            head.shares = torch.tensor([float(residual_by_tag.get(name, weights.residual)) for name in names])
        else:
            head.residual *= weights.residual
        for means in head.rewards:
            centred = weights.tags * (means.data - head.overall)
            means.data = head.overall + (advantages.apply(centred) if advantages else centred)
        if advantages:
            head.residual = advantages.apply(head.residual.T).T.contiguous()
    head.calibration = torch.tensor(float(weights.temperature))


def hold_correction(head: Head, weights: AdvantageWeights) -> None:
    """Keep the correction of the best single model, and of candidates without a weight, at 0 in gradient steps.

    Otherwise the steps would let a candidate be chosen whose advantages have not come true out of fold. Only
    differences between candidates matter, so that the best single model's correction can be 0.

    Args:
        head: of `init_head`; gradients of its last layer are masked from now on.
        weights: of the candidates' advantages.
    """
    free = torch.from_numpy(weights.values > 0.0)
    free[weights.best_single] = False

    def mask(gradient: Tensor) -> Tensor:
        """Set a gradient (m, …) to 0 for the candidates that are held."""
        return gradient * free.to(gradient).reshape(-1, *[1] * (gradient.ndim - 1))

    for parameter in head.correction[-1].parameters():
        parameter.register_hook(mask)  # type: ignore[no-untyped-call]


def fall_back_to_best_single(head: Head) -> None:
    """Make a head predict the mean rewards for every query, in place: always the best single model."""
    for means in head.rewards:
        means.data = head.overall.expand_as(means).clone()
    head.residual = torch.zeros_like(head.residual)
    for parameter in head.correction.parameters():
        nn.init.zeros_(parameter)
