"""Train a router from Python, without Hydra: `zooter.fit(table)`."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl

from zooter.commands import train
from zooter.commands.train_settings import TrainSettings
from zooter.data import reward_table
from zooter.data.files import atomic_dir
from zooter.data.reward_table import RewardTable
from zooter.data.split import Split
from zooter.router.encoder import Encoder
from zooter.router.loading import load_router
from zooter.router.onnx_export import ExportFormats
from zooter.router.protocol import Router
from zooter.router.text_encoder import TextEncoder
from zooter.training.labels import TagSmoothing
from zooter.training.losses import ForwardKL, Objective
from zooter.training.recipe import FrozenRecipe, Recipe
from zooter.training.tagger.cluster import ClusterTagger
from zooter.training.tagger.column import ColumnTagger
from zooter.training.tagger.protocol import Tagger

MAKE_TRAINER = partial(  # as in conf/trainer/auto.yaml
    pl.Trainer, accelerator="auto", devices=1, strategy="auto", precision="32-true", gradient_clip_val=1.0,
    deterministic=True,
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        report: what was measured on the test queries, under `test`, and how the router was trained; JSON.
        run_dir: the folder with the report, the plots and the export.
    """

    report: dict[str, Any]
    run_dir: Path
    _temporary: Any = field(default=None, repr=False, compare=False)  # removes a temporary run_dir with the run

    @cached_property
    def router(self) -> Router:
        """Load the trained router."""
        return load_router(self.run_dir / "export")

    def export(self, folder: str | Path) -> Path:
        """Copy the export to a folder, whole or not at all; an earlier folder is replaced.

        Args:
            folder: made if it is not there.

        Returns:
            The folder, for `Router.load`, `zooter serve` and `infer.py`.
        """
        with atomic_dir(Path(folder)) as draft:
            shutil.copytree(self.run_dir / "export", draft, dirs_exist_ok=True)
        return Path(folder)


def fit(
    table: RewardTable | str | Path,
    *,
    beta: float | Literal["auto", "per_tag"] = "auto",
    run_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    folds: int | None = None,
    label: TagSmoothing | None = None,
    tagger: Tagger | None = None,
    encoder: TextEncoder | None = None,
    net: Recipe | None = None,
    objective: Objective | None = None,
    split: Split | None = None,
    trainer: Callable[..., pl.Trainer] | None = None,
    prices: Mapping[str, float] | None = None,
    onnx: bool = True,
    seed: int = 0,
) -> Run:
    """Train a router on recorded rewards; the defaults are those of `train.py experiment=recorded`.

    Args:
        table: rewards of n queries and m candidates, or the file or folder to read them from.
        beta: weight in [0, 1] of a query's own reward against its tags' mean; "auto" chooses it by cross-fitting.
        run_dir: gets the report, the plots and the export; None takes a temporary folder, removed with the run.
        cache_dir: keeps embeddings for other runs; None keeps them in `run_dir`.
        folds: None for one split; k tests every query once, out of fold, and trains the router on all queries.
        label: how rewards become labels, in place of `beta`.
        tagger: where tags come from; None takes the table's, or clusters of the queries where it has none.
        encoder: the text encoder; None is all-MiniLM-L6-v2, in float32 with neither `onnx` nor `cache_dir`.
        net: which weights are trained, and how; None trains the head on frozen embeddings.
        objective: the distillation loss; None is the forward KL divergence.
        split: how queries are divided into training, validation and test.
        trainer: makes a Lightning trainer; None trains on one device, a GPU where there is one.
        prices: candidate → US dollars per million tokens, of a table that is read here.
        onnx: also write the ONNX form of the export, which routes without torch; it takes seconds.
        seed: of everything random.

    Raises:
        RecordsError: the table cannot be used.
        ConfigError: a setting is out of range.
        StoreError: another process writes into `run_dir`.
    """
    temporary = tempfile.TemporaryDirectory(prefix="zooter-") if run_dir is None else None
    folder = Path(temporary.name if temporary is not None else str(run_dir))
    source = None if isinstance(table, RewardTable) else Path(table)
    settings = TrainSettings(
        run_dir=folder,
        cache_dir=folder / "cache" if cache_dir is None else Path(cache_dir),
        split=split or Split(),
        # Without a cache, an int8 graph for embeddings alone would be made by each fit, in the time of 800 texts.
        encoder=encoder or Encoder(precision="float32" if cache_dir is None and not onnx else "auto"),
        tagger=tagger or ColumnTagger(otherwise=ClusterTagger()),
        label=label or TagSmoothing(beta=beta),
        net=net or FrozenRecipe(),
        objective=objective or ForwardKL(),
        trainer=trainer or MAKE_TRAINER,
        records=source,
        folds=folds,
        export=ExportFormats(onnx=onnx),
        seed=seed,
    )
    rewards = table if isinstance(table, RewardTable) else reward_table.read(Path(table), prices)
    report = train.run(settings, {"label": asdict(settings.label), "folds": folds, "seed": seed}, rewards)
    assert report is not None, "only `until` ends a run without a report"
    return Run(report, folder, temporary)
