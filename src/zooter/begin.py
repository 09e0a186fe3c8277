"""Everything that is learned at once from the training part, before any gradient step: tags, labels and a head."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from zooter import crossfit, start
from zooter.label import PER_TAG, Prior, Smoothing
from zooter.net import Head, Recipe
from zooter.records import Records
from zooter.split import Part
from zooter.start import Trust
from zooter.tagger.protocol import Tagger
from zooter.types import Labels, Rewards, Tags


@dataclass(frozen=True)
class Begun:
    """Tags (n, t) and labels (n, m) of all queries, the prior of the labels, and a head that starts from them."""

    tags: Tags
    prior: Prior
    labels: Labels
    head: Head
    weights: Trust


def tagged(table: Records, embeddings: NDArray[np.float32], part: Part, tagger: Tagger) -> Tags:
    """Tags of all queries by a tagger that has learned from the training rows."""
    texts = [table.queries[i] for i in part.train]
    fitted = tagger.fit(texts, embeddings[part.train], table.tags.take(part.train))
    return fitted.tag(table.queries, embeddings, table.tags)


def begin(
    table: Records,
    embeddings: NDArray[np.float32],
    features: Tensor,
    part: Part,
    tagger: Tagger,
    label: Smoothing,
    recipe: Recipe,
    seed: int,
) -> Begun:
    """Learn from the training rows of one part; embeddings (n, e) and features (n, d) are of all queries."""
    rows = part.train
    tags, seen = tagged(table, embeddings, part, tagger), table.rewards.take(rows)
    pl.seed_everything(seed, workers=True, verbose=False)  # the head's first weights
    views = [tags.take(rows)]
    if recipe.clusters:
        views.append(start.clusters([table.queries[i] for i in rows], embeddings[rows], seed))
    head, label, weights = trusted(features[rows], seen, views, label, recipe, seed)
    prior = label.fit(seen, tags.take(rows), weights.of_tag)
    head.temperature = torch.tensor(float(prior.scale))
    return Begun(tags, prior, prior.label(table.rewards, tags), head, weights)


def trusted(
    features: Tensor, rewards: Rewards, views: Sequence[Tags], label: Smoothing, recipe: Recipe, seed: int
) -> tuple[Head, Smoothing, Trust]:
    """A head started on training queries, and settings of labels, both as far as cross-fitting bears them out."""
    head = start.start(features, rewards, views, 1.0, recipe.width, recipe.dropout)
    z = head.standardise(features)
    found = crossfit.crossfit(z, rewards, views, seed)
    weights = crossfit.trust(found, rewards, None if isinstance(label.beta, str) else label.beta)
    if label.beta == PER_TAG and views:
        weights = replace(weights, of_tag=crossfit.of_tags(found, rewards, views[0], weights))
    if isinstance(label.temperature, str):
        label = replace(label, temperature=crossfit.softness(z, rewards, views, label, seed))
    start.trusting(head, features, rewards, views, weights)
    return head, replace(label, beta=weights.residual), weights
