"""Train a router: from a recorded table to a report and an export, as one straight function."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, cast

from pytorch_lightning.loggers import Logger
from rich.console import Console

from zooter.collect import estimate
from zooter.collect.engine.plan import describe_cluster_plan
from zooter.commands import config as configuration
from zooter.commands.train_checks import check_run, check_settings
from zooter.commands.train_outputs import (
    compare_selectors,
    keep_logged_metrics,
    log_files_at_end,
    log_report,
    remove_export,
    write_export,
    write_forms,
    write_report,
)
from zooter.commands.train_part import measure
from zooter.commands.train_settings import BEFORE_TRAINING, TrainSettings, one_run_per_folder, with_recorded_table
from zooter.data import reward_table
from zooter.data.reward_table import RewardTable
from zooter.data.split import Part
from zooter.data.table_description import describe_table
from zooter.evaluation import examples, router_metrics, router_report, selector_report
from zooter.evaluation.router_metrics import RouterOutcome
from zooter.evaluation.validation import summarise_validation
from zooter.router import export
from zooter.router.fill_embeddings import fill_embeddings
from zooter.training.method import TrainedRouter, TrainingData, TrainingMethod
from zooter.training.processes import first_process_first, is_first_process
from zooter.training.tagger.protocol import AskingTagger

log = logging.getLogger(__name__)

OUTPUTS = "report, plots and export"


def main(values: Mapping[str, Any], overrides: Sequence[str]) -> float | None:
    """Train with settings from conf/train.yaml, and print the report.

    Args:
        values: the settings, as plain Python types.
        overrides: those that were changed on the command line.

    Returns:
        The share of the gap closed on validation queries, for sweepers; None when no router was trained.
    """
    console = Console(quiet=not is_first_process())
    settings = configuration.build(values)
    if settings.plan:
        estimates = estimate.estimate_run(settings.collector)
        console.print(estimate.estimate_table(estimates))
        if (plan := describe_cluster_plan(settings.collector, estimates)) is not None:
            console.print(plan, highlight=False)
        return None
    report = run(settings, {**values, "overrides": list(overrides)})
    if report is None:
        console.print(f"stopped after {settings.until}: {settings.run_dir}", soft_wrap=True)
        return None
    console.print(router_report.table(report))
    console.print(router_report.describe_result(report["test"]), markup=False)
    if "compared" in report:
        console.print(selector_report.table(report["compared"]))
    written = "report and plots (export.each_job=true writes exports)" if settings.export is None else OUTPUTS
    console.print(f"{written}: {settings.run_dir}", soft_wrap=True)
    return cast(float | None, report["validation"]["gap_closed"])


@one_run_per_folder
def run(settings: TrainSettings, config: Mapping[str, Any], table: RewardTable | None = None) -> dict[str, Any] | None:
    """Record responses and rewards if candidates are asked, then train, evaluate and export a router.

    Args:
        settings: everything that the run depends on.
        config: the settings as they were written, for the report; JSON.
        table: rewards in memory; None reads those of `settings.records`, or records them.

    Returns:
        The report, which is also written into the run folder; None when `until` stopped the run earlier.

    Raises:
        ZooterError: the table, the candidates or the settings cannot be used.
        StoreError: another process writes into the run folder.
    """
    started = time.perf_counter()
    check_settings(settings)
    if table is None:
        settings = with_recorded_table(settings)
        if settings.until in BEFORE_TRAINING:
            return None
        assert settings.records is not None
        table = reward_table.read(settings.records, settings.prices)
    method, run_dir = settings.method, settings.run_dir
    parts = settings.split.parts(table.queries, settings.folds)
    check_run(settings, table, parts)
    log.info("%d queries, %d candidates, %d tags", len(table.queries), len(table.pool.names), len(table.tags.names))
    with first_process_first(settings.trainer):
        if isinstance(settings.tagger, AskingTagger):
            settings.tagger.fill(table.queries, settings.engine)
        data = embed(settings, method, table, parts[0])
    if settings.until is not None:
        if is_first_process():
            method.write_labels(run_dir / "labels.parquet", data, parts[0], settings.until == "label")
        return None
    embedded = time.perf_counter()

    logger = settings.logger(save_dir=str(run_dir)) if settings.logger else None
    if settings.ckpt_path is not None:
        keep_logged_metrics(logger)
    outcomes = []
    for k, part in enumerate(parts):
        data = method.embed_again(data, part) if k else data
        trained, outcome = train_and_measure(settings, data, part, logger, f"fold{k}/" if settings.folds else "")
        outcomes.append(outcome)
    if settings.folds:
        part = settings.split.without_test(table.queries)
        data = method.embed_again(data, part)
        trained = method.train_part(data, part, run_dir / "checkpoints", logger=logger)

    report = build_report(settings, config, table, trained, router_metrics.concatenate_outcomes(outcomes))
    report["seconds"] = {"read_and_embed": embedded - started, "all": time.perf_counter() - started}
    log_report(logger, report)
    with log_files_at_end(logger, run_dir):
        write_report(report, run_dir)
        if settings.export is None:
            remove_export(run_dir / "export")
            return report
        facts = {**asdict(settings.split), "folds": settings.folds}
        write_export(run_dir / "export", method, data, part, trained, report, facts, settings.cache_dir)
        try:
            if settings.selectors:
                compare_selectors(settings, table.pool.names, config, report)
                write_report(report, run_dir)
        finally:  # a comparison that fails costs neither the report nor a part of the export
            write_forms(run_dir / "export", settings.export.write, data, part, trained, settings.cache_dir)
    return report


def embed(settings: TrainSettings, method: TrainingMethod, table: RewardTable, part: Part) -> TrainingData:
    """Embed a table's queries with the encoder of a method, by the run's engine.

    Args:
        settings: of the run.
        method: whose encoder embeds.
        table: n queries.
        part: whose training queries an encoder that learns is fitted to.
    """
    encoder = method.resolve_encoder(settings.cache_dir)  # here, for all machines of a cluster
    fill_embeddings(table.queries, encoder, settings.cache_dir, settings.engine)
    return method.embed(table, part, settings.cache_dir)


def train_and_measure(
    settings: TrainSettings, data: TrainingData, part: Part, logger: Logger | None, prefix: str
) -> tuple[TrainedRouter, RouterOutcome]:
    """Train a router on one part, and those to compare it with, and measure them on the part's test queries.

    Args:
        settings: of the run.
        data: all rows.
        part: one split, or one fold.
        logger: gets the losses; None logs nothing.
        prefix: of the logged metrics' names.
    """
    method, checkpoints = settings.method, settings.run_dir / "checkpoints"
    initial_fit = method.fit_part(data, part)
    trained = method.train_part(
        data, part, checkpoints, initial_fit=initial_fit, logger=logger, prefix=prefix, ckpt_path=settings.ckpt_path
    )
    fit = trained.fit
    log.info(
        "%s%d epochs, validation loss %.4f, share of the steps kept %.2f", prefix, fit.epochs, fit.val_loss, fit.kept
    )
    others = {}
    for beta in settings.compare_beta:
        smoothed = replace(method, label=replace(method.label, beta=beta))
        other = smoothed.train_part(data, part, checkpoints, initial_fit=initial_fit, prefix=f"{prefix}beta{beta}/")
        others[f"routed, β = {beta:g}"] = other.logits(data, part.test)
    if settings.compare_encoder is not None:
        encoded = replace(method, encoder=settings.compare_encoder)
        with first_process_first(settings.trainer):
            other_data = embed(settings, encoded, data.records, part)
        other = encoded.train_part(other_data, part, checkpoints, prefix=f"{prefix}encoder/")
        others[f"routed, {settings.compare_encoder.name}"] = other.logits(other_data, part.test)
    return trained, measure(data, part, trained, trained.logits(data, part.test), others)


def build_report(
    settings: TrainSettings,
    config: Mapping[str, Any],
    table: RewardTable,
    trained: TrainedRouter,
    outcome: RouterOutcome,
) -> dict[str, Any]:
    """Collect what a run measured, chose and depends on; JSON.

    Args:
        settings: of the run.
        config: the settings as they were written.
        table: all rows.
        trained: the router that is exported.
        outcome: of the test queries of all parts.
    """
    return {
        "test": router_metrics.summarise(outcome, settings.groups),
        "choices_by_tag": examples.choices_by_tag(outcome.choices, outcome.test.candidates, outcome.tags),
        "examples": examples.examples_of_router(outcome),
        "validation": summarise_validation(outcome.validation),
        "data": describe_table(settings.records, table),
        "fit": asdict(trained.fit),
        "chosen": trained.choices(),
        "settings": dict(config),
        "versions": export.versions(),
    }
