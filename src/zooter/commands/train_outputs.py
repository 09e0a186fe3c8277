"""Write what a training run leaves: the report, the plots, the export, and the logger's last values."""

import csv
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only
from safetensors import SafetensorError

from zooter.commands import evaluate
from zooter.commands.train_settings import TrainSettings
from zooter.data.pool import Pool
from zooter.data.split import Part
from zooter.data.text_file import TextRows
from zooter.data.types import Ints, RouterOutput
from zooter.errors import ExportError
from zooter.evaluation import html_report, router_metrics, router_plots, router_report
from zooter.router import export, manifest
from zooter.router.encoder import Encoder
from zooter.selector.exports import with_exports
from zooter.selector.routing.routed import RoutedSelector
from zooter.training import head_init
from zooter.training.method import TrainedRouter, TrainingData, TrainingMethod
from zooter.training.predict import compute_features, predict_probabilities

# Queries on which an export's forms are compared: enough to value the choices that int8 changes.
COMPARED_QUERIES = 1_200
# The same of a router trained on int8 embeddings: float32's have to be computed for it, and its figures are int8's.
COMPARED_WITH_INT8 = 300
# Training queries, at most, of which clusters are made that drift is tested in.
DRIFT_QUERIES = 50_000


@rank_zero_only
def keep_logged_metrics(logger: Logger | None) -> None:
    """Let a resumed run go on with the metrics file of the run before, which Lightning's CSV logger would delete."""
    if not isinstance(logger, CSVLogger):
        return
    path = Path(logger.log_dir) / ExperimentWriter.NAME_METRICS_FILE
    earlier = path.read_text(encoding="utf-8") if path.is_file() else ""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")  # it is put back at once
        writer = logger.experiment
    if earlier:
        path.write_text(earlier, encoding="utf-8")
        writer.metrics_keys = next(csv.reader([earlier.splitlines()[0]]))


@rank_zero_only
def log_report(logger: Logger | None, report: Mapping[str, Any]) -> None:
    """Log the settings and the test metrics of a report."""
    if logger is None:
        return
    logger.log_hyperparams(report["settings"])
    logger.log_metrics({f"test/{key}": value for key, value in report["test"].items() if isinstance(value, float)})


@contextmanager
def log_files_at_end(logger: Logger | None, run_dir: Path) -> Iterator[None]:
    """Log the files that a block leaves in the run folder, and close the logger, also when the block fails.

    Args:
        logger: Weights & Biases gets the plots as images, and the report and the export as an artifact each, offline
            too; other loggers get no files; None logs nothing.
        run_dir: the run folder. Offline, `wandb sync` reads the artifacts' files from there: they are not copied.
    """
    try:
        yield
    finally:
        _log_files(logger, run_dir)


@rank_zero_only
def _log_files(logger: Logger | None, run_dir: Path) -> None:
    if logger is None:
        return
    if isinstance(logger, WandbLogger):
        import wandb

        run, plots = logger.experiment, sorted((run_dir / "plots").glob("*.png"))
        run.log({f"plots/{path.stem}": wandb.Image(str(path)) for path in plots})
        report = wandb.Artifact(f"report-{run.id}", "report")
        written = [path for path in (run_dir / "report.json", run_dir / "report.md", *plots) if path.exists()]
        for path in written:
            report.add_file(str(path), path.relative_to(run_dir).as_posix(), policy="immutable")
        run.log_artifact(report)
        if (run_dir / "export" / manifest.FILE).exists():
            export_files = wandb.Artifact(f"export-{run.id}", "model")
            export_files.add_dir(str(run_dir / "export"), policy="immutable")
            run.log_artifact(export_files)
    logger.finalize("success")
    # A Weights & Biases run stays open after finalize, and the next job of a sweep would write into it.
    close = getattr(getattr(logger, "experiment", None), "finish", None)
    if close is not None:
        close()


@rank_zero_only
def write_export(
    folder: Path,
    method: TrainingMethod,
    data: TrainingData,
    part: Part,
    trained: TrainedRouter,
    report: Mapping[str, Any],
    split: Mapping[str, Any],
    cache_dir: Path,
) -> None:
    """Write the export for torch, with its card and the reference that drift is measured against.

    Args:
        folder: the export.
        method: that the router was trained with.
        data: all rows.
        part: the rows that it was trained on.
        trained: the router.
        report: that of the run.
        split: how queries were divided; JSON.
        cache_dir: keeps embeddings.
    """
    table, tags = data.records, trained.tags.take(part.train)
    reference_rows = np.random.default_rng(method.seed).permutation(part.train)[: export.REFERENCE_QUERIES]
    probs = predict_probabilities(trained.net, data.inputs, part.train)
    drift_rows = np.sort(np.random.default_rng(method.seed).permutation(part.train)[:DRIFT_QUERIES])
    features = compute_features(trained.net, data.inputs, drift_rows)
    head, reference_features = trained.net.head, features[np.searchsorted(drift_rows, reference_rows)]
    tag_probs = head.tag_probabilities(reference_features).detach().double().numpy()
    facts = {
        "label": asdict(method.label),
        "chosen": report["chosen"],
        "data": report["data"],
        "test": _headline(report["test"]),
        "split": split,
        "head": head.summary,
        "tags": head_init.learned_tag_names([tags]) if tag_probs.shape[1] else (),
    }
    reference = export.reference_statistics(
        TextRows(table.queries, part.train),
        tags,
        probs,
        table.pool.names,
        tag_probs,
    )
    embed_rows = partial(_embed_in_float32, data, cache_dir, drift_rows) if _is_of_int8(trained, data) else None
    drift_reference = export.stratified_reference(head.embeddings_of(features).numpy(), method.seed, embed_rows)
    card = router_report.model_card(report)
    with _errors_of_export(folder):
        export.write(folder, trained.net, data.encoder, table.pool, facts, reference, drift_reference, card)


@rank_zero_only
def remove_export(folder: Path) -> None:
    """Remove the export of an earlier run in the same folder, which does not belong to the new report."""
    if (folder / manifest.FILE).exists():
        shutil.rmtree(folder)


@rank_zero_only
def write_forms(
    folder: Path,
    add_forms: Callable[..., None],
    data: TrainingData,
    part: Part,
    trained: TrainedRouter,
    cache_dir: Path,
) -> None:
    """Add the other forms to an export, compared with torch on validation queries and on some that training saw.

    No test query is among them, for they choose the precision.

    Args:
        folder: the export.
        add_forms: adds them to an export (`ExportFormats.write`).
        data: all rows.
        part: the rows that the router was trained on.
        trained: the router.
        cache_dir: keeps the graphs of an encoder that other runs have too.
    """
    in_int8 = _is_of_int8(trained, data)
    rows = np.concatenate([part.val, np.random.default_rng(0).permutation(part.train)])
    rows = rows[: COMPARED_WITH_INT8 if in_int8 else COMPARED_QUERIES]
    expected = None
    if not in_int8:
        expected = RouterOutput(predict_probabilities(trained.net, data.inputs, rows), data.records.pool.names)
    cache = cache_dir if trained.net.backbone is None else None  # no other run has an encoder trained here
    with _errors_of_export(folder):
        add_forms(folder, [data.records.queries[i] for i in rows], expected, cache, data.records.rewards.take(rows))


@rank_zero_only
def compare_selectors(
    settings: TrainSettings, candidates: Sequence[str], written_settings: Mapping[str, Any], report: dict[str, Any]
) -> None:
    """Compare the exported router with other selectors on the test queries, into the report's section `compared`.

    Args:
        settings: those of the run; the export is in its folder.
        candidates: of the table, in the order of its columns.
        written_settings: the settings as they were written; JSON.
        report: gets the comparison.
    """
    selectors = with_exports({"routed": RoutedSelector(), **settings.selectors}, settings.run_dir / "export")
    pool = Pool.from_names(candidates, settings.prices)
    comparison = evaluate.EvaluateSettings(
        settings.run_dir / "compared", settings.cache_dir, selectors, settings.records, pool=pool, split=settings.split
    )
    results = evaluate.run(comparison, written_settings)
    keys = ("queries", "measured_by", "best_single", "selectors", "curves", "coverage", "notes")
    report["compared"] = {key: results[key] for key in keys}


@rank_zero_only
def write_report(report: dict[str, Any], run_dir: Path) -> None:
    """Write the plots and the report into the run folder."""
    plots = router_plots.save_plots(report["test"], run_dir / "plots")
    router_report.write(report, run_dir, plots)
    html_report.write_router_page(report, run_dir, plots)


@contextmanager
def _errors_of_export(folder: Path) -> Iterator[None]:
    """Turn errors of the file system into one message; an earlier export stays as it was."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ExportError(
            expected=f"to write the export {folder}",
            found=getattr(error, "strerror", None) or str(error),
            do=f"make room there and train again; the report in {folder.parent} is written",
        ) from error


def _is_of_int8(trained: TrainedRouter, data: TrainingData) -> bool:
    """Return whether a router was trained on embeddings in int8."""
    encoder = data.encoder
    return trained.net.backbone is None and isinstance(encoder, Encoder) and encoder.precision == "int8"


def _embed_in_float32(data: TrainingData, cache_dir: Path, rows: Ints, chosen: Ints) -> NDArray[np.float32]:
    """Embed the queries `rows[chosen]` as an export's torch form does, which drift is tested with: (k, e)."""
    assert isinstance(data.encoder, Encoder)
    texts = [data.records.queries[i] for i in rows[chosen]]
    return replace(data.encoder, precision="float32").embed(texts, cache_dir)


def _headline(test: dict[str, Any]) -> dict[str, Any]:
    names = ("queries", *router_metrics.METHODS, "best_single_name", "gap_closed", "gap_closed_ci")
    return {name: test[name] for name in names}
