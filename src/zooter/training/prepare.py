"""Everything that is learned at once from the training part, before any gradient step: tags, labels and a head."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from zooter.data.reward_table import RewardTable
from zooter.data.split import Part
from zooter.data.types import Floats, Labels, Rewards, Tags
from zooter.router.net import Head
from zooter.training import cross_fitting, head_init
from zooter.training.cross_fitting import OutOfFold
from zooter.training.head_init import BlendWeights
from zooter.training.labels import PER_TAG, TagPrior, TagSmoothing
from zooter.training.recipe import Recipe
from zooter.training.tagger.protocol import Tagger


@dataclass(frozen=True)
class TrainingSetup:
    """Tags (n, t) and labels (n, m) of all queries, the prior of the labels, and a head that starts from them.

    `views` are the training rows' sets of tags that the head's classifiers tell.
    """

    tags: Tags
    prior: TagPrior
    labels: Labels
    head: Head
    weights: BlendWeights
    views: tuple[Tags, ...]


def tag_queries(table: RewardTable, embeddings: NDArray[np.float32], part: Part, tagger: Tagger) -> Tags:
    """Tags of all queries by a tagger that has learned from the training rows."""
    texts = [table.queries[i] for i in part.train]
    fitted = tagger.fit(texts, embeddings[part.train], table.tags.take(part.train))
    return fitted.tag(table.queries, embeddings, table.tags)


@dataclass(frozen=True)
class InitialFit:
    """What the training rows of one part tell before there are labels, so that it is learned once for every β.

    Attributes:
        tags: (n, t) of all queries.
        rewards: of the training rows.
        views: the training rows' sets of tags: the table's, and clusters.
        features: (r, d) of the training rows.
        head: started from the views; copied before it is given weights.
        residual: penalty → weights (m, d) of the ridge on what the head's tags leave open.
        found: what cross-fitting predicts for the training rows.
    """

    tags: Tags
    rewards: Rewards
    views: tuple[Tags, ...]
    features: Tensor
    head: Head
    residual: Mapping[float, Floats]
    found: OutOfFold


def fit_initial(
    table: RewardTable,
    embeddings: NDArray[np.float32],
    features: Tensor,
    part: Part,
    tagger: Tagger,
    recipe: Recipe,
    seed: int,
) -> InitialFit:
    """Learn from the training rows of one part; embeddings (n, e) and features (n, d) are of all queries."""
    rows = part.train
    tags = tag_queries(table, embeddings, part, tagger)
    pl.seed_everything(seed, workers=True, verbose=False)  # the head's first weights
    views = [tags.take(rows)]
    if recipe.clusters:
        views.append(head_init.cluster_tags([table.queries[i] for i in rows], embeddings[rows], seed))
    return fit_initial_head(tags, features[rows], table.rewards.take(rows), views, recipe, seed)


def fit_initial_head(
    tags: Tags, features: Tensor, rewards: Rewards, views: Sequence[Tags], recipe: Recipe, seed: int
) -> InitialFit:
    """A head started on training queries, and what cross-fitting says of it."""
    head = head_init.init_head(features, rewards, views, 1.0, recipe.width, recipe.dropout)
    found = cross_fitting.cross_fit(head.standardise(features), rewards, views, seed)
    residual = head_init.fit_residual_ridges(head, features, rewards)
    return InitialFit(tags, rewards, tuple(views), features, head, residual, found)


def prepare(known: InitialFit, table: RewardTable, label: TagSmoothing, seed: int) -> TrainingSetup:
    """Labels of all queries and a head whose weights suit them."""
    head, label, weights = resolve_weights(known, label, seed)
    prior = label.fit(known.rewards, known.views[0], weights.of_tag)
    head.temperature = torch.tensor(float(prior.scale))
    return TrainingSetup(
        known.tags,
        prior,
        prior.label(table.rewards, known.tags),
        head,
        weights,
        tuple(head_init.learnable_tag_sets(known.views)),
    )


def resolve_weights(known: InitialFit, label: TagSmoothing, seed: int) -> tuple[Head, TagSmoothing, BlendWeights]:
    """A copy of the head, and settings of labels, both as far as cross-fitting bears them out."""
    head, rewards, views, found = copy.deepcopy(known.head), known.rewards, known.views, known.found
    weights = cross_fitting.fit_blend_weights(found, rewards, None if isinstance(label.beta, str) else label.beta)
    if label.beta == PER_TAG and views:
        weights = replace(weights, of_tag=cross_fitting.fit_tag_weights(found, rewards, views[0], weights))
    if isinstance(label.temperature, str):
        z = head.standardise(known.features)
        label = replace(label, temperature=cross_fitting.select_temperature(z, rewards, views, label, seed))
    head_init.apply_weights(head, known.residual, views, weights)
    return head, replace(label, beta=weights.residual), weights
