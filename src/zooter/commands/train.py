"""The main job, from a recorded table to a report and an export, as one straight function."""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from scipy.special import softmax
from torch import Tensor

from zooter.commands import evaluate
from zooter.commands.train_settings import BEFORE_TRAINING, TrainSettings, with_recorded_table
from zooter.data import reward_table
from zooter.data.arrow_io import data_files
from zooter.data.files import sha256
from zooter.data.pool import Pool
from zooter.data.reward_table import RewardTable
from zooter.data.split import Part
from zooter.data.types import Floats, Rewards, RouterOutput, Tags
from zooter.evaluation import router_metrics, router_plots, router_report
from zooter.router import export
from zooter.router.net import Net, encoder_and_text_features
from zooter.router.text_features import TEXT_FEATURES
from zooter.selector.routing.routed import RoutedSelector
from zooter.training import head_init, label_table
from zooter.training.datamodule import RouterDataModule
from zooter.training.distill import FitSummary, distill, evaluate_net, predict_logits, probabilities
from zooter.training.head_init import BlendWeights
from zooter.training.labels import TagPrior
from zooter.training.prepare import InitialFit, fit_initial, prepare, tag_queries
from zooter.training.recipe import Inputs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """What all parts of a run share, row by row: records, embeddings (n, e), features (n, d) and the net's inputs."""

    records: RewardTable
    embeddings: NDArray[np.float32]
    features: Tensor
    inputs: Inputs


@dataclass(frozen=True)
class TrainedRouter:
    """A net trained on one part, the prior and the tags (n, t) of its labels, and what cross-fitting found."""

    net: Net
    prior: TagPrior
    tags: Tags
    fit: FitSummary
    weights: BlendWeights


def run(settings: TrainSettings, told: Mapping[str, Any]) -> dict[str, Any] | None:
    """Record if live, then train, evaluate and export; returns the report, which is also written into the run folder.

    Args:
        told: the settings as they were given, for the report; JSON.

    Returns:
        None when `until` stopped it earlier.
    """
    started = time.perf_counter()
    settings = with_recorded_table(settings)
    if settings.until in BEFORE_TRAINING:
        return None
    assert settings.records is not None
    table = reward_table.read(settings.records, settings.prices)
    parts = settings.split.parts(table.queries, settings.folds)
    log.info("%d queries, %d candidates, %d tags", len(table.queries), len(table.pool.names), len(table.tags.names))
    embeddings = settings.encoder.embed(table.queries, settings.cache_dir)
    if settings.until in ("tag", "label"):
        _label(table, embeddings, parts[0], settings)
        return None
    read = encoder_and_text_features(embeddings, table.queries)
    data = TrainingData(table, embeddings, read, settings.net.inputs(settings.encoder, table.queries, read))
    embedded = time.perf_counter()

    logger = settings.logger(save_dir=str(settings.run_dir)) if settings.logger else None
    outcomes = []
    for k, part in enumerate(parts):
        prefix = f"fold{k}/" if settings.folds else ""
        known = fit_part(data, part, settings)
        trained = train(data, part, settings, logger, prefix, known)
        others = {}
        for beta in settings.compare_beta:
            smoothing = replace(settings, label=replace(settings.label, beta=beta))
            other = train(data, part, smoothing, None, f"{prefix}beta{beta}/", known)
            others[f"routed, β = {beta:g}"] = predict_logits(other.net, data.inputs, part.test)
        outcomes.append(_outcome(data, part, trained, others))
        log.info("%s%d epochs, best validation loss %.4f", prefix, trained.fit.epochs, trained.fit.val_loss)
    if settings.folds:
        part = settings.split.everything(table.queries)
        trained = train(data, part, settings, logger, "")

    found = {
        "test": router_metrics.summarise(router_metrics.concatenate_outcomes(outcomes)),
        "data": _facts(settings.records, table),
        "fit": asdict(trained.fit),
        "seconds": {"read_and_embed": embedded - started, "all": time.perf_counter() - started},
        "settings": dict(told),
        "versions": export.versions(),
    }
    _finish(logger, found)
    _write(settings, data, part, trained, found)
    return found


def fit_part(data: TrainingData, part: Part, settings: TrainSettings) -> InitialFit:
    """What the training rows of one part tell before there are labels."""
    return fit_initial(data.records, data.embeddings, data.features, part, settings.tagger, settings.net, settings.seed)


def train(
    data: TrainingData,
    part: Part,
    settings: TrainSettings,
    logger: Logger | None = None,
    prefix: str = "",
    known: InitialFit | None = None,
) -> TrainedRouter:
    """Tags, labels and distillation, all learned from the training rows of one part.

    Args:
        known: what `fit_part` has found on this part for the same tagger, net and seed.
    """
    table = data.records
    begun = prepare(known or fit_part(data, part, settings), table, settings.label, settings.seed)
    net = settings.net.net(settings.encoder, begun.head)
    views = begun.views if settings.net.tag_weight else ()
    batches = RouterDataModule(
        part, data.inputs, begun.labels, table.rewards, settings.net.batch_size, settings.seed, views
    )
    fit = distill(
        net, batches, settings.objective, settings.net, settings.trainer,
        folder=settings.run_dir / "checkpoints" / prefix, seed=settings.seed, logger=logger,
        ckpt_path=settings.ckpt_path, prefix=prefix,
    )  # fmt: skip
    if not begun.weights.routes:
        log.warning("%sno evidence out of fold that routing pays: always the best single model", prefix)
        head_init.fall_back_to_best_single(net.head)
    return TrainedRouter(net, begun.prior, begun.tags, fit, begun.weights)


def _label(table: RewardTable, embeddings: NDArray[np.float32], part: Part, settings: TrainSettings) -> None:
    """Write tags, and labels unless the run ends before them."""
    if settings.until == "tag":
        tags, labels = tag_queries(table, embeddings, part, settings.tagger), None
    else:
        read = encoder_and_text_features(embeddings, table.queries)
        known = fit_initial(table, embeddings, read, part, settings.tagger, settings.net, settings.seed)
        begun = prepare(known, table, settings.label, settings.seed)
        tags, labels = begun.tags, begun.labels
    label_table.write(settings.run_dir / "labels.parquet", table, part, tags, labels)


def _outcome(
    data: TrainingData, part: Part, trained: TrainedRouter, others: Mapping[str, Floats]
) -> router_metrics.RouterOutcome:
    """What the test queries of a part show; those without any truth, where there is a truth, show nothing."""
    table, tags = data.records, trained.tags
    shows = np.ones(len(part.test), dtype=bool) if table.truth is None else table.truth.observed[part.test].any(axis=1)
    test = part.test[shows]

    def halves(of_all: Rewards) -> tuple[Rewards, Rewards]:
        return of_all.take(part.train), of_all.take(test)

    return router_metrics.router_outcome(
        probabilities(trained.net, data.inputs, test),
        trained.prior,
        (data.embeddings[part.train], data.embeddings[test]),
        halves(table.rewards),
        (tags.take(part.train), tags.take(test)),
        None if table.truth is None else halves(table.truth),
        {name: logits[shows] for name, logits in others.items()},
        softmax(predict_logits(trained.net, data.inputs, test), axis=1),
    )


def _facts(path: Path, table: RewardTable) -> dict[str, Any]:
    return {
        "path": str(path),
        "sha256": {file.name: sha256(file) for file in data_files(path)},
        "queries": len(table.queries),
        "rows": len(table.samples.query),
        "dropped": table.dropped,
        "cells": table.rewards.values.size,
        "missing_cells": int((~table.rewards.observed).sum()),
        "missing_by_candidate": dict(
            zip(table.pool.names, (~table.rewards.observed).sum(axis=0).tolist(), strict=True)
        ),
    }


@rank_zero_only
def _finish(logger: Logger | None, found: Mapping[str, Any]) -> None:
    if logger is None:
        return
    logger.log_hyperparams(found["settings"])
    logger.log_metrics({f"test/{key}": value for key, value in found["test"].items() if isinstance(value, float)})
    logger.finalize("success")
    # A Weights & Biases run stays open after finalize, and the next job of a sweep would write into it.
    close = getattr(getattr(logger, "experiment", None), "finish", None)
    if close is not None:
        close()


@rank_zero_only
def _write(
    settings: TrainSettings, data: TrainingData, part: Part, trained: TrainedRouter, found: dict[str, Any]
) -> None:
    table = data.records
    kept = np.random.default_rng(settings.seed).permutation(part.train)[: export.REFERENCE_QUERIES]
    probs = probabilities(trained.net, data.inputs, part.train)
    read = evaluate_net(trained.net, data.inputs, kept)
    export.write(
        settings.run_dir / "export",
        trained.net,
        settings.encoder,
        table.pool,
        facts={
            "label": asdict(settings.label),
            "data": found["data"],
            "test": _headline(found["test"]),
            "split": {**asdict(settings.split), "folds": settings.folds},
            "tags": head_init.learned_tag_names([trained.tags.take(part.train)]),
        },
        reference=export.reference_statistics(
            [table.queries[i] for i in part.train],
            trained.tags.take(part.train),
            probs,
            table.pool.names,
            trained.net.head.tags(read).detach().double().numpy(),
        ),
        embeddings=read[:, :-TEXT_FEATURES].contiguous().numpy(),
        card=router_report.card(found),
    )
    if settings.selectors:
        found["compared"] = _compared(settings, table, found["settings"])
    plots = router_plots.all_plots(found["test"], settings.run_dir / "plots")
    router_report.write(found, settings.run_dir, plots)
    unseen = part.test if len(part.test) else part.val  # with folds, all is learned from
    told = RouterOutput(probabilities(trained.net, data.inputs, unseen), table.pool.names)
    cache = settings.cache_dir if trained.net.backbone is None else None  # no other run has an encoder trained here
    settings.export.write(settings.run_dir / "export", [table.queries[i] for i in unseen], told, cache)


def _compared(settings: TrainSettings, table: RewardTable, told: Mapping[str, Any]) -> dict[str, Any]:
    """The exported router beside other selectors, on the same test queries."""
    selectors = {"routed": RoutedSelector(settings.run_dir / "export"), **settings.selectors}
    pool = Pool.of(table.pool.names, settings.prices)
    given = evaluate.EvaluateSettings(
        settings.run_dir / "compared", settings.cache_dir, selectors, settings.records, pool=pool, split=settings.split
    )
    found = evaluate.run(given, told)
    return {key: found[key] for key in ("queries", "best_single", "selectors", "curves", "notes")}


def _headline(test: dict[str, Any]) -> dict[str, Any]:
    names = ("queries", *router_metrics.METHODS, "best_single_name", "gap_closed", "gap_closed_ci")
    return {name: test[name] for name in names}
