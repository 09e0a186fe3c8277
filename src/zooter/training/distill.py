"""Train a net on labels with Lightning, and keep the weights with the best validation loss."""

import copy
import logging
import math
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import Logger
from scipy.special import softmax
from torch import Tensor

from zooter.data.types import Floats, Ints
from zooter.errors import ConfigError
from zooter.router.net import Net
from zooter.training.datamodule import Batch, RouterDataModule
from zooter.training.losses import Objective, tag_cross_entropy
from zooter.training.recipe import Inputs, Recipe

log = logging.getLogger(__name__)


class Distiller(pl.LightningModule):
    """A net, the loss that it minimises and the recipe's optimiser. Metrics are logged under `prefix`.

    The logged losses are the objective's; what is minimised has the tags' too where batches have tags.
    """

    def __init__(self, net: Net, objective: Objective, recipe: Recipe, prefix: str = "") -> None:
        super().__init__()
        self.net = net
        self.objective = objective
        self.recipe = recipe
        self.prefix = prefix

    def on_train_epoch_start(self) -> None:
        self.seen = torch.zeros(2, device=self.device)  # the sum of losses, and of how many queries

    def training_step(self, batch: Batch, index: int) -> Tensor:
        features, carried = self.net.features(*batch[0]), batch[-1]
        loss = self._loss(features, batch)
        # Summed here and logged once: `log` at each step would take a tenth of it, with a head this small.
        self.seen += torch.stack([loss.detach() * len(features), loss.new_tensor(len(features))])
        if carried:
            pairs = zip(self.net.head.tag_logits(features), carried, strict=True)
            loss = loss + self.recipe.tag_weight * sum(tag_cross_entropy(*pair) for pair in pairs)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log(self.prefix + "train/loss", self.seen[0] / self.seen[1], prog_bar=True, sync_dist=True)

    def validation_step(self, batch: Batch, index: int) -> None:
        features = self.net.features(*batch[0])
        self.log(
            self.prefix + "val/loss",
            self._loss(features, batch),
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            batch_size=len(features),
            sync_dist=True,
        )

    def _loss(self, features: Tensor, batch: Batch) -> Tensor:
        _, labels, rewards, mask, _ = batch
        return self.objective(self.net.head(features), labels, rewards, mask)

    def configure_optimizers(self) -> Any:
        optimizer, schedule = self.recipe.optimise(self.net, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class LastCheckpoint(ModelCheckpoint):
    """Each epoch's weights over the last one's: Lightning's `save_last` only keeps those of the last improvement."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """There is nothing to go on with."""


class BestCheckpoint(ModelCheckpoint):
    """The best weights; a run that goes on in another folder takes those so far along, which Lightning forgets."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        before = Path(state_dict["best_model_path"])
        if self.dirpath is not None and state_dict["dirpath"] != self.dirpath and before.is_file():
            here = str(Path(self.dirpath) / before.name)
            Path(self.dirpath).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(before, here)
            score = state_dict["best_model_score"]
            state_dict = {
                **state_dict, "dirpath": self.dirpath, "best_model_path": here, "last_model_path": "",
                "kth_best_model_path": here, "kth_value": score, "best_k_models": {here: score},
            }  # fmt: skip
        super().load_state_dict(state_dict)


@dataclass(frozen=True)
class FitSummary:
    """How a training ended: the best validation loss and its epoch, epochs done, optimiser steps.

    Epochs count from 1; 0 is the start, which stays when no epoch is better.
    """

    val_loss: float
    best_epoch: int
    epochs: int
    steps: int


def distill(
    net: Net,
    batches: RouterDataModule,
    objective: Objective,
    recipe: Recipe,
    trainer: Callable[..., pl.Trainer],
    *,
    folder: Path,
    seed: int,
    logger: Logger | None = None,
    ckpt_path: Path | None = None,
    prefix: str = "",
) -> FitSummary:
    """Train `net` in place and leave it with its best weights, the first among them, in evaluation mode on the CPU.

    Args:
        trainer: makes a Lightning trainer of further keyword arguments.
        folder: gets `best.ckpt` and `last.ckpt`.
        ckpt_path: a `last.ckpt` to go on from.

    Raises:
        ConfigError: `ckpt_path` does not exist, or belongs to another net.
    """
    if ckpt_path is not None and not ckpt_path.is_file():
        raise ConfigError(expected="ckpt_path to be a file", found=str(ckpt_path), do="give a last.ckpt, or null")
    pl.seed_everything(seed, workers=True, verbose=False)
    monitor = f"{prefix}val/loss"
    best = BestCheckpoint(folder, "best", monitor=monitor, auto_insert_metric_name=False, enable_version_counter=False)
    callbacks: list[Callback] = [
        best,
        LastCheckpoint(folder, "last", enable_version_counter=False),  # after `best`, whose state it holds
        EarlyStopping(monitor, patience=recipe.patience),
        RichProgressBar(refresh_rate=20),
    ]
    run = trainer(
        max_epochs=recipe.epochs, callbacks=callbacks, logger=logger or False, default_root_dir=folder,
        log_every_n_steps=1, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    started, first = _loss(net, batches, objective), copy.deepcopy(net.state_dict())
    module = Distiller(net.train(), objective, recipe, prefix)  # a pretrained encoder comes in evaluation mode
    with _threads(recipe.threads):
        _fit(run, module, batches, ckpt_path)
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    net.cpu().eval()
    score, epoch = math.nan, int(state["epoch"]) + 1
    if best.best_model_score is not None:
        score = float(best.best_model_score)
    if not score < started:
        net.load_state_dict(first)
        score, epoch = started, 0
    return FitSummary(score, epoch, run.current_epoch, run.global_step)


def _fit(run: pl.Trainer, module: Distiller, batches: RouterDataModule, ckpt_path: Path | None) -> None:
    """Lightning's fit, with Ctrl-C as itself and a foreign checkpoint as a message."""
    with warnings.catch_warnings():
        # The data are tensors in memory: worker processes would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists and is not empty.*")
        try:
            run.fit(module, batches, ckpt_path=str(ckpt_path) if ckpt_path else None)
        except SystemExit as end:
            # Lightning turns Ctrl-C into an exit of its own, after saving what it has.
            if run.interrupted:
                raise KeyboardInterrupt from end
            raise
        except (RuntimeError, KeyError) as error:
            if ckpt_path is None:
                raise
            raise ConfigError(
                expected=f"a checkpoint of this net at {ckpt_path}", found=str(error).splitlines()[0],
                do="resume with the settings that it was written with",
            ) from error  # fmt: skip


@torch.inference_mode()
def _loss(net: Net, batches: RouterDataModule, objective: Objective) -> float:
    """The mean validation loss of a net as it is."""
    net.eval()
    losses = [(float(objective(net(*inputs), *rest)), len(rest[0])) for inputs, *rest, _ in batches.val_dataloader()]
    return sum(loss * n for loss, n in losses) / sum(n for _, n in losses)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use `count` threads of the CPU; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def expected_rewards(net: Net, inputs: Inputs, rows: Ints) -> Floats:
    """(len(rows), m) expected rewards."""
    return predict_logits(net, inputs, rows) * float(net.head.temperature)


def probabilities(net: Net, inputs: Inputs, rows: Ints) -> Floats:
    """(len(rows), m) calibrated probabilities of being the best candidate."""
    return np.asarray(softmax(expected_rewards(net, inputs, rows) / float(net.head.calibration), axis=1))


@torch.inference_mode()
def evaluate_net(net: Net, inputs: Inputs, rows: Ints, batch_size: int = 512) -> Tensor:
    """(len(rows), d) what the head reads of at least one query, by the encoder as it is now."""
    parts = [rows[i : i + batch_size].tolist() for i in range(0, len(rows), batch_size)]
    return torch.cat([net.features(*inputs.take(part)) for part in parts])


@torch.inference_mode()
def predict_logits(net: Net, inputs: Inputs, rows: Ints, batch_size: int = 512) -> Floats:
    """(len(rows), m) logits."""
    logits = [net(*inputs.take(rows[i : i + batch_size].tolist())) for i in range(0, len(rows), batch_size)]
    return np.asarray(torch.cat(logits).double().numpy()) if logits else np.empty((0, len(net.head.overall)))
