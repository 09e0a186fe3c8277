"""The main job, from a recorded table to a report and an export, as one straight function."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from scipy.special import softmax
from torch import Tensor

from zooter import evaluate, export, labelled, plot, records, report, start
from zooter.ask import Rules
from zooter.batches import Batches
from zooter.begin import begin, tagged
from zooter.distill import Fit, distill, look, predict, probabilities
from zooter.encoder import Encoder
from zooter.errors import ConfigError
from zooter.label import Prior, Smoothing
from zooter.live import Live
from zooter.manifest import digest
from zooter.net import Inputs, Net, Recipe, features
from zooter.objective import Objective
from zooter.pool import Pool
from zooter.reader.protocol import Reader
from zooter.records import Records
from zooter.responder.protocol import Responder
from zooter.rewarder.protocol import Rewarder
from zooter.split import Part, Split
from zooter.start import Trust
from zooter.surface import SIZE
from zooter.tables import files
from zooter.tagger.protocol import Tagger
from zooter.types import Floats, Rewards, Tags

log = logging.getLogger(__name__)

# What `until` may name: the stages of a live run, and those after which `labels.parquet` is written.
BEFORE_TRAINING = ("respond", "reward")
STAGES = (*BEFORE_TRAINING, "tag", "label")


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on.

    Attributes:
        records: the recorded table to train from; or
        reader, pool, responder, rewarder, truth, cells: those of a live run (`zooter.live`), which records one.
        run_dir: gets the report, the plots, the checkpoints and the export.
        cache_dir: embeddings, shared by all runs.
        trainer, logger: make a Lightning trainer, and a logger that writes into a folder; None logs nothing.
        folds: None for one split; k for k parts that together test every query once.
        compare_beta: routers with these β are trained too, and stand beside the first in the report.
        prices: candidate → US dollars per million tokens.
        queries: of reader=file; here so that `queries=FILE` is all that has to be typed.
        until: the stage to stop after; None goes on to the end.
        plan: only say what a live run would compute.
        ckpt_path: a `last.ckpt` of an interrupted run of the same settings; not with folds.
    """

    run_dir: Path
    cache_dir: Path
    split: Split
    encoder: Encoder
    tagger: Tagger
    label: Smoothing
    net: Recipe
    objective: Objective
    trainer: Callable[..., pl.Trainer]
    records: Path | None = None
    queries: Path | None = None
    reader: Reader | None = None
    pool: Pool | None = None
    responder: Responder | None = None
    rewarder: Rewarder | None = None
    truth: Rewarder | None = None
    cells: Rules = field(default_factory=Rules)
    until: str | None = None
    plan: bool = False
    logger: Callable[..., Logger] | None = None
    prices: Mapping[str, float] | None = None
    folds: int | None = None
    compare_beta: Sequence[float] = ()
    seed: int = 0
    ckpt_path: Path | None = None

    def __post_init__(self) -> None:
        if self.ckpt_path is not None and self.folds is not None:
            raise ConfigError(
                expected="ckpt_path with one split", found=f"folds={self.folds}", do="set folds=null to resume"
            )
        if self.until is not None and self.until not in STAGES:
            raise ConfigError(expected=f"until among {STAGES}", found=repr(self.until), do="correct it")


@dataclass(frozen=True)
class Data:
    """What all parts of a run share, row by row: records, embeddings (n, e), features (n, d) and the net's inputs."""

    records: Records
    embeddings: NDArray[np.float32]
    features: Tensor
    inputs: Inputs


@dataclass(frozen=True)
class Trained:
    """A net trained on one part, the prior and the tags (n, t) of its labels, and what cross-fitting found."""

    net: Net
    prior: Prior
    tags: Tags
    fit: Fit
    weights: Trust


def live(settings: Settings) -> Live:
    """The live run that the settings describe.

    Raises:
        ConfigError: a part of it is not chosen.
    """
    if settings.reader is None or settings.pool is None or settings.responder is None:
        raise ConfigError(
            expected="a reader, a pool and a responder, to ask candidates",
            found=str({name: type(getattr(settings, name)).__name__ for name in ("reader", "pool", "responder")}),
            do="choose them: reader=file queries=FILE pool=… responder=…",
        )
    if settings.rewarder is None and settings.until != "respond" and not settings.plan:
        raise ConfigError(
            expected="a rewarder, to train from", found="none", do="choose rewarder=…, or stop with until=respond"
        )
    return Live(
        settings.reader, settings.pool, settings.responder, settings.cache_dir,
        settings.rewarder, settings.truth, settings.cells, settings.split,
    )  # fmt: skip


def record(settings: Settings) -> Settings:
    """Settings with a recorded table: as they are, or after a live run has made one in the run folder.

    Raises:
        ConfigError: neither a table nor a reader is given, or both are.
    """
    if (settings.records is None) == (settings.reader is None):
        raise ConfigError(
            expected="either records=FILE or a reader=…",
            found="neither" if settings.records is None else "both",
            do="add records=FILE to train from a recorded table, or reader=file queries=FILE to ask candidates",
        )
    if settings.records is not None:
        return settings
    asking = live(settings)
    table = settings.run_dir / "records.parquet"
    asking.run(table, settings.until)
    log.info("recorded table: %s", table)
    prices = {c.name: p for c in asking.pool.candidates if (p := c.mean_price()) is not None}
    return replace(settings, records=table, reader=None, prices={**prices, **(settings.prices or {})})


def run(settings: Settings, told: Mapping[str, Any]) -> dict[str, Any] | None:
    """Record if live, then train, evaluate and export; returns the report, which is also written into the run folder.

    Args:
        told: the settings as they were given, for the report; JSON.

    Returns:
        None when `until` stopped it earlier.
    """
    started = time.perf_counter()
    settings = record(settings)
    if settings.until in BEFORE_TRAINING:
        return None
    assert settings.records is not None
    table = records.read(settings.records, settings.prices)
    parts = settings.split.parts(table.queries, settings.folds)
    log.info("%d queries, %d candidates, %d tags", len(table.queries), len(table.pool.names), len(table.tags.names))
    embeddings = settings.encoder.embed(table.queries, settings.cache_dir)
    if settings.until in ("tag", "label"):
        _label(table, embeddings, parts[0], settings)
        return None
    read = features(embeddings, table.queries)
    data = Data(table, embeddings, read, settings.net.inputs(settings.encoder, table.queries, read))
    embedded = time.perf_counter()

    logger = settings.logger(save_dir=str(settings.run_dir)) if settings.logger else None
    outcomes = []
    for k, part in enumerate(parts):
        prefix = f"fold{k}/" if settings.folds else ""
        trained = train(data, part, settings, logger, prefix)
        others = {}
        for beta in settings.compare_beta:
            smoothing = replace(settings, label=replace(settings.label, beta=beta))
            other = train(data, part, smoothing, None, f"{prefix}beta{beta}/")
            others[f"routed, β = {beta:g}"] = predict(other.net, data.inputs, part.test)
        outcomes.append(_outcome(data, part, trained, others))
        log.info("%s%d epochs, best validation loss %.4f", prefix, trained.fit.epochs, trained.fit.val_loss)
    if settings.folds:
        part = settings.split.everything(table.queries)
        trained = train(data, part, settings, logger, "")

    found = {
        "test": evaluate.summary(evaluate.together(outcomes)),
        "data": _facts(settings.records, table),
        "fit": asdict(trained.fit),
        "seconds": {"read_and_embed": embedded - started, "all": time.perf_counter() - started},
        "settings": dict(told),
        "versions": export.versions(),
    }
    _finish(logger, found["test"])
    _write(settings, data, part, trained, found)
    return found


def train(data: Data, part: Part, settings: Settings, logger: Logger | None = None, prefix: str = "") -> Trained:
    """Tags, labels and distillation, all learned from the training rows of one part."""
    table = data.records
    begun = begin(
        table, data.embeddings, data.features, part, settings.tagger, settings.label, settings.net, settings.seed
    )
    net = settings.net.net(settings.encoder, begun.head)
    batches = Batches(part, data.inputs, begun.labels, table.rewards, settings.net.batch_size)
    fit = distill(
        net, batches, settings.objective, settings.net, settings.trainer,
        folder=settings.run_dir / "checkpoints" / prefix, seed=settings.seed, logger=logger,
        ckpt_path=settings.ckpt_path, prefix=prefix,
    )  # fmt: skip
    if begun.weights.gain <= 0.0:
        log.warning("%sout of fold, routing gains nothing over the best single model: always that one", prefix)
        start.fall_back(net.head)
    return Trained(net, begun.prior, begun.tags, fit, begun.weights)


def _label(table: Records, embeddings: NDArray[np.float32], part: Part, settings: Settings) -> None:
    """Write tags, and labels unless the run ends before them."""
    if settings.until == "tag":
        tags, labels = tagged(table, embeddings, part, settings.tagger), None
    else:
        read = features(embeddings, table.queries)
        begun = begin(table, embeddings, read, part, settings.tagger, settings.label, settings.net, settings.seed)
        tags, labels = begun.tags, begun.labels
    labelled.write(settings.run_dir / "labels.parquet", table, part, tags, labels)


def _outcome(data: Data, part: Part, trained: Trained, others: Mapping[str, Floats]) -> evaluate.Outcome:
    """What the test queries of a part show; those without any truth, where there is a truth, show nothing."""
    table, tags = data.records, trained.tags
    shows = np.ones(len(part.test), dtype=bool) if table.truth is None else table.truth.observed[part.test].any(axis=1)
    test = part.test[shows]

    def halves(of_all: Rewards) -> tuple[Rewards, Rewards]:
        return of_all.take(part.train), of_all.take(test)

    return evaluate.outcome(
        probabilities(trained.net, data.inputs, test),
        trained.prior,
        (data.embeddings[part.train], data.embeddings[test]),
        halves(table.rewards),
        (tags.take(part.train), tags.take(test)),
        None if table.truth is None else halves(table.truth),
        {name: logits[shows] for name, logits in others.items()},
        softmax(predict(trained.net, data.inputs, test), axis=1),
    )


def _facts(path: Path, table: Records) -> dict[str, Any]:
    return {
        "path": str(path),
        "sha256": {file.name: digest(file) for file in files(path)},
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
def _finish(logger: Logger | None, test: dict[str, Any]) -> None:
    if logger is None:
        return
    logger.log_metrics({f"test/{key}": value for key, value in test.items() if isinstance(value, float)})
    logger.finalize("success")
    # A Weights & Biases run stays open after finalize, and the next job of a sweep would write into it.
    close = getattr(getattr(logger, "experiment", None), "finish", None)
    if close is not None:
        close()


@rank_zero_only
def _write(settings: Settings, data: Data, part: Part, trained: Trained, found: dict[str, Any]) -> None:
    table = data.records
    kept = np.random.default_rng(settings.seed).permutation(part.train)[: export.KEPT_EMBEDDINGS]
    probs = probabilities(trained.net, data.inputs, part.train)
    read = look(trained.net, data.inputs, kept)
    export.write(
        settings.run_dir / "export",
        trained.net,
        settings.encoder,
        table.pool,
        facts={
            "label": asdict(settings.label),
            "data": found["data"],
            "test": _headline(found["test"]),
            "tags": start.learned([trained.tags.take(part.train)]),
        },
        reference=export.statistics(
            [table.queries[i] for i in part.train],
            trained.tags.take(part.train),
            probs,
            table.pool.names,
            trained.net.head.tags(read).detach().double().numpy(),
        ),
        embeddings=read[:, :-SIZE].contiguous().numpy(),
        card=report.card(found),
    )
    plots = plot.all_plots(found["test"], settings.run_dir / "plots")
    report.write(found, settings.run_dir, plots)


def _headline(test: dict[str, Any]) -> dict[str, Any]:
    names = ("queries", *evaluate.METHODS, "best_single_name", "gap_closed", "gap_closed_ci")
    return {name: test[name] for name in names}
