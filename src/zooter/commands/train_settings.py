"""The settings of a training run, and the recorded table that it starts from: given, or made by asking candidates."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import field, replace
from functools import wraps
from typing import Annotated, Concatenate, Literal, ParamSpec, TypeVar

import pytorch_lightning as pl
from pydantic import Field, SkipValidation
from pytorch_lightning.loggers import Logger

from zooter.collect.engine.local import LocalEngine
from zooter.collect.engine.protocol import Engine
from zooter.collect.reader.protocol import Reader
from zooter.collect.respond import FillPolicy
from zooter.collect.responder.protocol import Responder
from zooter.collect.rewarder.protocol import Rewarder
from zooter.collect.run import Collector
from zooter.commands import import_
from zooter.commands.overrides import refuse_unless_one_input
from zooter.data.component import PathField, component
from zooter.data.locks import exclusive
from zooter.data.pool import Pool
from zooter.data.split import Split
from zooter.errors import ConfigError
from zooter.router.onnx_export import ExportFormats
from zooter.router.text_encoder import TextEncoder
from zooter.selector.protocol import Selector
from zooter.training.labels import TagSmoothing
from zooter.training.losses import Objective
from zooter.training.method import TrainingMethod
from zooter.training.processes import is_first_process
from zooter.training.recipe import Recipe, check_encoder
from zooter.training.tagger.protocol import Tagger
from zooter.training.zooter_recipe import check_label

log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

BEFORE_TRAINING = ("respond", "reward")  # the stages of a live run; after "tag" and "label" `labels.parquet` is written
MAX_SEED = 2**32 - 1  # NumPy takes no other


@component
class TrainSettings:
    """Everything that a run depends on.

    Attributes:
        records: the recorded table to train from; or
        reader, pool, responder, rewarder, truth, cells: those of a live run (`zooter.collect.run`), which records one.
        run_dir: gets the report, the plots, the checkpoints and the export.
        cache_dir: embeddings, shared by all runs.
        engine: where candidates are asked, responses rewarded, and queries tagged and embedded.
        export: the forms of the export beside torch's; None writes no export.
        trainer, logger: make a Lightning trainer, and a logger that writes into a folder; None logs nothing.
        folds: None for one split; k for k parts that together test every query once.
        selectors: name → selector; those and the trained router are compared on the test queries, into `compared/`.
        compare_beta: routers with these β are trained too, and stand beside the first in the report.
        compare_encoder: so is a router with this encoder.
        prices: candidate → US dollars per million tokens.
        groups: tag → group, for means and ranks of groups of tags in the report.
        format: of `records`, where another tool wrote it (docs/import.md), or "auto"; None for a recorded table.
        queries: of reader=file; here so that `queries=FILE` is all that has to be typed.
        until: the stage to stop after; None goes on to the end.
        plan: only print what asking candidates would compute and cost.
        ckpt_path: a `last.ckpt` of an interrupted run of the same settings; not with folds.
    """

    run_dir: PathField
    cache_dir: PathField
    split: Split
    encoder: TextEncoder
    tagger: SkipValidation[Tagger]
    label: TagSmoothing
    net: SkipValidation[Recipe]
    objective: SkipValidation[Objective]
    trainer: Callable[..., pl.Trainer]
    records: PathField | None = None
    format: str | None = None
    queries: PathField | None = None
    reader: SkipValidation[Reader | None] = None
    pool: Pool | None = None
    responder: SkipValidation[Responder | None] = None
    rewarder: SkipValidation[Rewarder | None] = None
    truth: SkipValidation[Rewarder | None] = None
    cells: FillPolicy = field(default_factory=FillPolicy)
    engine: SkipValidation[Engine] = field(default_factory=LocalEngine)
    until: Literal["respond", "reward", "tag", "label"] | None = None
    plan: bool = False
    export: ExportFormats | None = field(default_factory=ExportFormats)
    logger: Callable[..., Logger] | None = None
    prices: Mapping[str, float] | None = None
    groups: Mapping[str, str] | None = None
    folds: Annotated[int, Field(ge=2)] | None = None
    selectors: Mapping[str, SkipValidation[Selector]] = field(default_factory=dict)
    compare_beta: Sequence[float] = ()
    compare_encoder: TextEncoder | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    ckpt_path: PathField | None = None

    def __post_init__(self) -> None:
        check_label(self.net, self.label)
        check_encoder(self.net, self.encoder)
        if self.compare_encoder is not None:
            check_encoder(self.net, self.compare_encoder, "compare_encoder")
        if self.ckpt_path is not None and self.folds is not None:
            raise ConfigError(
                expected="ckpt_path with one split", found=f"folds={self.folds}", do="set folds=null to resume"
            )
        if self.selectors and self.export is None:
            raise ConfigError(
                expected="an export, to compare selectors with", found="export=null", do="leave one of the two out"
            )
        if self.selectors and self.folds is not None:
            raise ConfigError(
                expected="one split, to compare selectors with the exported router",
                found=f"folds={self.folds}, with which that router is trained on all queries",
                do="set folds=null, or leave selectors out",
            )

    @property
    def method(self) -> TrainingMethod:
        """Return how a router is trained, whatever the data."""
        return TrainingMethod(self.encoder, self.tagger, self.label, self.net, self.objective, self.trainer, self.seed)

    @property
    def collector(self) -> Collector:
        """Return what asks and rewards the candidates of a live run.

        Raises:
            ConfigError: a part of it is not chosen.
        """
        if self.reader is None or self.pool is None or self.responder is None:
            raise ConfigError(
                expected="a reader, a pool and a responder, to ask candidates",
                found=str({name: type(getattr(self, name)).__name__ for name in ("reader", "pool", "responder")}),
                do="choose them: reader=file queries=FILE pool=… responder=…",
            )
        if self.rewarder is None and self.until != "respond" and not self.plan:
            raise ConfigError(
                expected="a rewarder, to train from", found="none", do="choose rewarder=…, or stop with until=respond"
            )
        return Collector(
            self.reader, self.pool, self.responder, self.cache_dir, self.rewarder, self.truth, self.cells, self.split,
            self.engine,
        )  # fmt: skip


def with_recorded_table(settings: TrainSettings) -> TrainSettings:
    """Make sure that the settings have a recorded table, by asking candidates where they name a reader.

    Args:
        settings: with either `records` or `reader`.

    Returns:
        The settings as they are, or with the table that was written into the run folder.

    Raises:
        ConfigError: neither a table nor a reader is given, or both are.
    """
    refuse_unless_one_input(settings.records is not None, settings.reader is not None)
    table = settings.run_dir / "records.parquet"
    if settings.records is not None:
        if settings.format is None:
            return settings
        import_.run(import_.ImportSettings((settings.records,), settings.format, table), log.info)
        return replace(settings, records=table, format=None)
    collector = settings.collector
    collector.collect(table, settings.until)
    log.info("recorded table: %s", table)
    prices = {c.name: p for c in collector.pool.candidates if (p := c.mean_price()) is not None}
    return replace(settings, records=table, reader=None, prices={**prices, **(settings.prices or {})})


def one_run_per_folder(
    run: Callable[Concatenate[TrainSettings, Arguments], Result],
) -> Callable[Concatenate[TrainSettings, Arguments], Result]:
    """Make a function hold the run folder of its settings while it runs; a second process is told who holds it."""

    @wraps(run)
    def locked(settings: TrainSettings, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call the function while this process holds the run folder."""
        with exclusive(settings.run_dir, "run folder") if is_first_process() else nullcontext():
            return run(settings, *args, **kwargs)

    return locked
