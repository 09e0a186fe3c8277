"""The preparation of a training: tags, labels and an initialised head, all fitted to the training rows of one part."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from zooter.data.mapped import mapped_rows
from zooter.data.reward_table import RewardTable
from zooter.data.split import Part
from zooter.data.text_file import TextRows
from zooter.data.types import Floats, Labels, Rewards, Tags
from zooter.metrics.adjusted_means import without_query_effects
from zooter.router.linear_head import LinearHead
from zooter.router.net import Head, RouterHead
from zooter.training import cross_fitting, head_init
from zooter.training.cross_fitting import OutOfFold
from zooter.training.feature_rows import FeatureRows
from zooter.training.head_init import BlendWeights
from zooter.training.labels import PER_TAG, TagPrior, TagSmoothing
from zooter.training.recipe import Recipe
from zooter.training.tagger.protocol import Tagger


@dataclass(frozen=True)
class InitialFit:
    """β-independent fits on the training rows of one part, reused for every β that is compared.

    Attributes:
        tags: (n, t) of all queries.
        rewards: (r, m) of the training rows; without effects of queries where cells are missing.
        tag_sets: (r, t) each, the training rows' sets of tags: the table's, and clusterings.
        features: of the training rows.
        head: initialised with the tag sets; copied before weights are applied.
        ridges: penalty → weights (m, d) of the ridge on what the head's tags leave open.
        out_of_fold: cross-fitted predictions for the training rows.
    """

    tags: Tags
    rewards: Rewards
    tag_sets: tuple[Tags, ...]
    features: FeatureRows
    head: Head
    ridges: Mapping[float, Floats]
    out_of_fold: OutOfFold


@dataclass(frozen=True)
class TaggedRows:
    """What labels are made from where no head is initialised; in the place of `InitialFit`.

    Attributes:
        tags: (n, t) of all queries.
        rewards: (r, m) of the training rows.
        training_tags: (r, t).
        embedding_size: e, the width of the encoder's embeddings.
    """

    tags: Tags
    rewards: Rewards
    training_tags: Tags
    embedding_size: int


@dataclass(frozen=True)
class TrainingSetup:
    """What a net is trained with.

    Attributes:
        tags: (n, t) of all queries.
        prior: the mean labels of tags that the labels were smoothed with.
        labels: (n, m) of all queries.
        head: initialised, its weights applied; or a random linear one.
        weights: those of the head, estimated by cross-fitting; None for a linear one.
        tag_sets: (r, t) each, the training rows' tags that the head's classifiers learn.
    """

    tags: Tags
    prior: TagPrior
    labels: Labels
    head: RouterHead
    weights: BlendWeights | None
    tag_sets: tuple[Tags, ...]


def tag_queries(table: RewardTable, embeddings: NDArray[np.float32], part: Part, tagger: Tagger) -> Tags:
    """Tag all queries (n, t) by a tagger fitted on the training rows.

    Args:
        table: n queries and the tags that it gives.
        embeddings: (n, e).
        part: whose training rows the tagger is fitted on.
        tagger: not yet fitted.
    """
    texts = TextRows(table.queries, part.train)
    fitted = tagger.fit(texts, mapped_rows(embeddings, part.train), table.tags.take(part.train))
    return fitted.tag(table.queries, embeddings, table.tags)


def fit_initial(
    table: RewardTable,
    embeddings: NDArray[np.float32],
    features: Tensor,
    part: Part,
    tagger: Tagger,
    recipe: Recipe,
    seed: int,
) -> InitialFit | TaggedRows:
    """Tag all queries and fit what does not depend on β, on the training rows of one part.

    Args:
        table: n queries with rewards.
        embeddings: (n, e) of all queries.
        features: (n, d) of all queries.
        part: whose training rows are fitted on.
        tagger: not yet fitted.
        recipe: says whether a head is initialised, how wide, and how many clusterings are further tag sets.
        seed: of clusters, folds and the head's first weights.
    """
    rows = part.train
    tags = tag_queries(table, embeddings, part, tagger)
    if not recipe.initialises_head:
        return TaggedRows(tags, table.rewards.take(rows), tags.take(rows), embeddings.shape[1])
    pl.seed_everything(seed, workers=True, verbose=False)  # the head's first weights
    tag_sets = [tags.take(rows)]
    if recipe.clusterings:
        texts, points = TextRows(table.queries, rows), mapped_rows(embeddings, rows)
        tag_sets += head_init.cluster_tags(texts, points, recipe.clusterings, seed)
    return fit_initial_head(tags, FeatureRows(features, rows), table.rewards.take(rows), tag_sets, recipe, seed)


def fit_initial_head(
    tags: Tags, features: Tensor | FeatureRows, rewards: Rewards, tag_sets: Sequence[Tags], recipe: Recipe, seed: int
) -> InitialFit:
    """Initialise a head on training queries, and cross-fit the same model on them.

    Where cells are missing, effects of queries are removed from rewards (`without_query_effects`): the head's expected
    rewards are those of a query of average difficulty then, and a candidate that answered easy queries alone is not
    expected to do as well on hard ones.

    Args:
        tags: (n, t) of all queries; kept for the labels.
        features: of the r training queries.
        rewards: (r, m).
        tag_sets: (r, t) each.
        recipe: says how wide the head is.
        seed: of the folds.
    """
    features, rewards = FeatureRows.of(features), without_query_effects(rewards)
    head = head_init.init_head(features, rewards, tag_sets, 1.0, recipe.width, recipe.dropout)
    out_of_fold = cross_fitting.cross_fit(features.transformed(head.standardise), rewards, tag_sets, seed)
    head_init.weigh_tag_sets(head, out_of_fold.set_shares)
    ridges = head_init.fit_residual_ridges(head, features, rewards)
    return InitialFit(tags, rewards, tuple(tag_sets), features, head, ridges, out_of_fold)


def prepare(
    initial_fit: InitialFit | TaggedRows, table: RewardTable, smoothing: TagSmoothing, seed: int
) -> TrainingSetup:
    """Make labels of all queries and a head: one with the weights that suit them, or a linear one.

    Args:
        initial_fit: of the part's training rows.
        table: all n queries with rewards.
        smoothing: settings of labels; "auto" and "per_tag" are resolved here, where a head is initialised.
        seed: of the folds on which a temperature is selected, and of a linear head's first weights.
    """
    if isinstance(initial_fit, TaggedRows):
        return _prepare_linear(initial_fit, table, smoothing, seed)
    head, smoothing, weights = resolve_weights(initial_fit, smoothing, seed)
    prior = smoothing.fit(initial_fit.rewards, initial_fit.tag_sets[0], weights.residual_by_tag)
    head.temperature = torch.tensor(float(prior.scale))
    labels = prior.label(table.rewards, initial_fit.tags)
    tag_sets = tuple(head_init.learnable_tag_sets(initial_fit.tag_sets))
    return TrainingSetup(initial_fit.tags, prior, labels, head, weights, tag_sets)


def _prepare_linear(tagged_rows: TaggedRows, table: RewardTable, smoothing: TagSmoothing, seed: int) -> TrainingSetup:
    prior = smoothing.fit(tagged_rows.rewards, tagged_rows.training_tags)
    pl.seed_everything(seed, workers=True, verbose=False)  # the head's first weights
    head = LinearHead(tagged_rows.embedding_size, len(table.pool.names))
    head.temperature = torch.tensor(float(prior.scale))
    labels = prior.label(table.rewards, tagged_rows.tags)
    return TrainingSetup(tagged_rows.tags, prior, labels, head, None, ())


def resolve_weights(
    initial_fit: InitialFit, smoothing: TagSmoothing, seed: int
) -> tuple[Head, TagSmoothing, BlendWeights]:
    """Apply cross-fitted weights to a copy of the head, and resolve β and temperature of the labels.

    Args:
        initial_fit: of the training rows.
        smoothing: settings of labels; a number in `beta` replaces the cross-fitted weight of the residual.
        seed: of the folds on which a temperature is selected.

    Returns:
        The copy, the settings with numbers for β and temperature, and the weights.
    """
    head, rewards, tag_sets = copy.deepcopy(initial_fit.head), initial_fit.rewards, initial_fit.tag_sets
    out_of_fold = initial_fit.out_of_fold
    beta = None if isinstance(smoothing.beta, str) else smoothing.beta
    weights = cross_fitting.fit_blend_weights(out_of_fold, rewards, beta)
    if smoothing.beta == PER_TAG and tag_sets:
        by_tag = cross_fitting.fit_tag_weights(out_of_fold, rewards, tag_sets[0], weights)
        weights = replace(weights, residual_by_tag=by_tag)
    if isinstance(smoothing.temperature, str):
        z = initial_fit.features.transformed(head.standardise)
        temperature = cross_fitting.select_temperature(z, rewards, tag_sets, smoothing, seed)
        smoothing = replace(smoothing, temperature=temperature)
    head_init.apply_weights(head, initial_fit.ridges, tag_sets, weights)
    return head, replace(smoothing, beta=weights.residual), weights
