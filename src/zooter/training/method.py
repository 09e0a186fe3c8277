"""The training of a router on one part of the queries: tags, labels, an initialised head, distillation."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.loggers import Logger
from torch import Tensor

from zooter.data.reward_table import RewardTable
from zooter.data.split import Part
from zooter.data.text_file import TextRows
from zooter.data.types import Floats, Ints, Tags
from zooter.router.choices import describe_evidence
from zooter.router.encoder import Encoder
from zooter.router.net import Head, Net
from zooter.router.text_encoder import TextEncoder
from zooter.router.text_features import TEXT_FEATURES
from zooter.training import head_init, label_table
from zooter.training.advantages import GateEvidence
from zooter.training.checkpoint import describe_training
from zooter.training.datamodule import RouterDataModule
from zooter.training.distill import FitSummary, distill, keep_as_it_is
from zooter.training.feature_rows import map_features
from zooter.training.head_init import BlendWeights
from zooter.training.inputs import Inputs
from zooter.training.labels import TagPrior, TagSmoothing
from zooter.training.losses import Objective
from zooter.training.predict import predict_logits
from zooter.training.prepare import InitialFit, TaggedRows, fit_initial, prepare, tag_queries
from zooter.training.recipe import Recipe
from zooter.training.tagger.protocol import Tagger

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """The queries of a run as a net reads them; all parts share it unless the encoder learns from training queries.

    Embeddings and features are mapped from one temporary file: memory holds what is being computed on.

    Attributes:
        records: the table of n queries.
        encoder: fitted, of the embeddings.
        embeddings: (n, e) of the queries.
        features: (n, d), embeddings and text features.
        inputs: what the net reads of them.
    """

    records: RewardTable
    encoder: TextEncoder
    embeddings: NDArray[np.float32]
    features: Tensor
    inputs: Inputs


@dataclass(frozen=True)
class TrainedRouter:
    """A net trained on one part.

    Attributes:
        net: the network.
        prior: the tag means that its labels were smoothed with.
        tags: (n, t) of all queries.
        fit: how the training ended.
        weights: blend weights estimated by cross-fitting; None for a net whose head is not initialised.
    """

    net: Net
    prior: TagPrior
    tags: Tags
    fit: FitSummary
    weights: BlendWeights | None

    def logits(self, data: TrainingData, rows: Ints) -> Floats:
        """Predict logits (len(rows), m) for some rows of the data."""
        return predict_logits(self.net, data.inputs, rows)

    def choices(self) -> dict[str, Any]:
        """List what cross-fitting chose and the evidence that routing pays, for the report and the export; JSON.

        `routes` is False where the best single model answers every query instead. Without an initialised head nothing
        is chosen: β and temperature are the settings', and the net always routes.
        """
        smoothing, weights = self.prior.smoothing, self.weights
        if weights is None:
            return {"beta": smoothing.beta, "temperature": smoothing.temperature, "routes": True}
        return {
            "beta": smoothing.beta,
            "temperature": smoothing.temperature,  # of the labels
            "tags": weights.tags,
            "residual": weights.residual,
            "residual_by_tag": weights.residual_by_tag,
            "penalty": weights.penalty,
            "calibration": weights.temperature,  # of the probabilities
            "evidence": None if weights.evidence is None else weights.evidence.to_json(),
            "routes": weights.routes,
        }


@dataclass(frozen=True)
class TrainingMethod:
    """How a router is trained on a table: everything that its weights depend on beside the data.

    Attributes:
        encoder: of the queries' embeddings; one that learns is fitted to each part's training queries.
        tagger: gives each query its tags.
        label: how rewards become labels.
        net: which weights are trained, and how.
        objective: the loss of the labels.
        trainer: makes a Lightning trainer.
        seed: of everything random.
    """

    encoder: TextEncoder
    tagger: Tagger
    label: TagSmoothing
    net: Recipe
    objective: Objective
    trainer: Callable[..., pl.Trainer]
    seed: int = 0

    def resolve_encoder(self, cache_dir: Path | None) -> TextEncoder:
        """Decide the precision of embeddings on this machine: float32 where the encoder's weights are trained too.

        Args:
            cache_dir: keeps embeddings and the graph for int8; None is float32.
        """
        if not isinstance(self.encoder, Encoder):
            return self.encoder
        return self.encoder.resolve(None if self.net.trains_encoder else cache_dir)

    def embed(self, table: RewardTable, part: Part, cache_dir: Path | None) -> TrainingData:
        """Embed the n queries of a table, and prepare the net's inputs.

        Args:
            table: n queries with rewards.
            part: whose training queries the encoder is fitted to, where it learns.
            cache_dir: keeps embeddings for other runs; None keeps none.
        """
        encoder = self.resolve_encoder(cache_dir).fit(TextRows(table.queries, part.train))
        features = map_features(encoder.embed(table.queries, cache_dir), table.queries)
        inputs = self.net.make_inputs(encoder, table.queries, features)
        return TrainingData(table, encoder, features[:, :-TEXT_FEATURES].numpy(), features, inputs)

    def embed_again(self, data: TrainingData, part: Part) -> TrainingData:
        """Embed the queries for another part, with an encoder fitted to it; the same data where encoders learn nothing.

        Args:
            data: of another part.
            part: to train on.
        """
        return self.embed(data.records, part, None) if self.encoder.learns else data

    def fit_part(self, data: TrainingData, part: Part) -> InitialFit | TaggedRows:
        """Fit what does not depend on β to the training rows of one part, once for all values of it."""
        return fit_initial(data.records, data.embeddings, data.features, part, self.tagger, self.net, self.seed)

    def train_part(
        self,
        data: TrainingData,
        part: Part,
        folder: Path,
        *,
        initial_fit: InitialFit | TaggedRows | None = None,
        logger: Logger | None = None,
        prefix: str = "",
        ckpt_path: Path | None = None,
    ) -> TrainedRouter:
        """Tag, label and distil, all learned from the training rows of one part.

        Args:
            data: all rows.
            part: row numbers to train, validate and test on.
            folder: gets the checkpoints, in a folder of the name `prefix`.
            initial_fit: the result of `fit_part` for this part and the same tagger, net and seed; None fits it here.
            logger: gets losses; None logs nothing.
            prefix: of metrics and of the checkpoints' folder, with a slash at its end.
            ckpt_path: a `last.ckpt` to resume from.
        """
        table = data.records
        setup = prepare(initial_fit or self.fit_part(data, part), table, self.label, self.seed)
        net = self.net.make_net(data.encoder, setup.head)
        tag_sets = setup.tag_sets if self.net.tag_weight else ()
        batches = RouterDataModule(
            part, data.inputs, setup.labels, table.rewards, self.net.batch_size, self.seed, tag_sets
        )
        # Known from cross-fitting: no training would change what answers.
        if setup.weights is not None and not setup.weights.routes:
            log.warning("%sno candidate's advantage can be foretold: the best single model answers, untrained", prefix)
            assert isinstance(net.head, Head)
            head_init.fall_back_to_best_single(net.head)
            fit = keep_as_it_is(net, batches, self.objective)
            return TrainedRouter(net, setup.prior, setup.tags, fit, setup.weights)
        if setup.weights is not None and setup.weights.evidence is not None:
            _log_evidence(setup.weights.evidence, prefix, is_slow=net.backbone is not None)
        if setup.weights is not None and setup.weights.advantages is not None:
            assert isinstance(net.head, Head)
            head_init.hold_correction(net.head, setup.weights.advantages)
        fit = distill(
            net, batches, self.objective, self.net, self.trainer,
            folder=folder / prefix, seed=self.seed, logger=logger, ckpt_path=ckpt_path, prefix=prefix,
            identity=describe_training(
                table, setup.tags, part, data.encoder,
                {"label": self.label, "tagger": self.tagger, "objective": self.objective},
                self.net, self.trainer, self.seed,
            ),
        )  # fmt: skip
        return TrainedRouter(net, setup.prior, setup.tags, fit, setup.weights)

    def write_labels(self, path: Path, data: TrainingData, part: Part, with_labels: bool) -> None:
        """Write the tags and labels of one part as a table (`label_table`).

        Args:
            path: of the file.
            data: all rows.
            part: whose training rows tags and labels are learned from.
            with_labels: False leaves the labels out.
        """
        if with_labels:
            setup = prepare(self.fit_part(data, part), data.records, self.label, self.seed)
            label_table.write(path, data.records, part, setup.tags, setup.labels)
        else:
            tags = tag_queries(data.records, data.embeddings, part, self.tagger)
            label_table.write(path, data.records, part, tags, None)


def _log_evidence(evidence: GateEvidence, prefix: str, is_slow: bool) -> None:
    """Say before training what cross-fitting tells of its gain."""
    log.info("%sout of fold, %s", prefix, describe_evidence(evidence.to_json()))
    if is_slow and not evidence.is_clear:
        log.warning(
            "%sno clear gain over the best single model can be foretold from these queries; training the encoder too "
            "takes long and seldom changes that: net=frozen tells in seconds, more queries help",
            prefix,
        )
