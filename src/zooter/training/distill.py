"""Distil labels into a net with Lightning, and keep the share of the steps that the validation loss supports."""

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, RichProgressBar
from pytorch_lightning.loggers import Logger
from torch import Tensor

from zooter.router.net import Head, Net
from zooter.training import checkpoint as checkpoints
from zooter.training.checkpoint import BestCheckpoint, Identity, LastCheckpoint
from zooter.training.datamodule import Batch, RouterDataModule, join_parts
from zooter.training.losses import Objective, tag_cross_entropy
from zooter.training.recipe import Recipe

log = logging.getLogger(__name__)


class Distiller(pl.LightningModule):
    """A net with the loss that it minimises and the recipe's optimiser.

    The logged losses are the objective's alone; where batches have tags, the tags' cross-entropy is minimised too.

    Several processes (DDP) compute the features of a batch in parts, and each of them the loss of the whole batch: the
    gradients, which DDP averages, are those of one process, whatever the objective averages over.

    Args:
        net: trained in place.
        objective: the loss of the labels.
        recipe: makes the optimiser and gives the weight of the tags' loss.
        prefix: of the logged metrics' names.
        identity: stands in the checkpoints.
    """

    def __init__(
        self, net: Net, objective: Objective, recipe: Recipe, prefix: str = "", identity: Identity | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.objective = objective
        self.recipe = recipe
        self.prefix = prefix
        self.identity = identity or {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the settings and the random state."""
        checkpoint[checkpoints.KEY] = checkpoints.state_to_save(self.identity)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the random numbers of the run that is resumed."""
        checkpoints.restore_random_state(checkpoint)

    def on_train_epoch_start(self) -> None:
        """Reset the epoch's loss."""
        self.loss_and_count = torch.zeros(2, device=self.device)  # sum of the losses of queries, number of queries

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss to minimise: the objective and the weighted cross-entropy of tags."""
        features, tags = self._features(batch), batch[-1]
        loss = self._objective_loss(features, batch)
        # Summed here and logged once: `log` at each step would take a tenth of it, with a head this small.
        self.loss_and_count += torch.stack([loss.detach() * len(features), loss.new_tensor(len(features))])
        if tags:
            assert isinstance(self.net.head, Head)
            pairs = zip(self.net.head.tag_logits(features), tags, strict=True)
            loss = loss + self.recipe.tag_weight * sum(tag_cross_entropy(*pair) for pair in pairs)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean training loss."""
        mean_loss = self.loss_and_count[0] / self.loss_and_count[1]
        self.log(self.prefix + "train/loss", mean_loss, prog_bar=True, sync_dist=True)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Log the validation loss, averaged over the epoch's queries."""
        features = self._features(batch)
        self.log(
            self.prefix + "val/loss",
            self._objective_loss(features, batch),
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            batch_size=len(features),
            sync_dist=True,
        )

    def configure_optimizers(self) -> Any:
        """Make the recipe's optimiser and schedule, which steps with every batch."""
        optimizer, schedule = self.recipe.make_optimizer(self.net, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _features(self, batch: Batch) -> Tensor:
        """Compute the features (b, d) of a batch, together with the other processes."""
        inputs, labels, *_ = batch
        features = self.net.features(*inputs)
        if self.trainer.world_size == 1:
            return features
        return join_parts(cast(Tensor, self.all_gather(features, sync_grads=True)), len(labels))

    def _objective_loss(self, features: Tensor, batch: Batch) -> Tensor:
        _, labels, rewards, mask, _ = batch
        return self.objective(self.net.head(features), labels, rewards, mask)


@dataclass(frozen=True)
class FitSummary:
    """How a training ended.

    Attributes:
        val_loss: that of the weights that are kept: the best, unless the recipe keeps the last (`Recipe.keep_last`).
        best_epoch: the epoch of these weights, counted from 1; 0 is the initial net, which stays when no epoch is
            better.
        epochs: epochs done.
        steps: optimiser steps done.
        kept: share of the steps up to `best_epoch` that is kept (`share_of_steps`).
    """

    val_loss: float
    best_epoch: int
    epochs: int
    steps: int
    kept: float = 1.0


def distill(
    net: Net,
    batches: RouterDataModule,
    objective: Objective,
    recipe: Recipe,
    make_trainer: Callable[..., pl.Trainer],
    *,
    folder: Path,
    seed: int,
    logger: Logger | None = None,
    ckpt_path: Path | None = None,
    prefix: str = "",
    identity: Identity | None = None,
) -> FitSummary:
    """Train a net in place and leave it with its best weights, in evaluation mode on the CPU.

    The initial weights are among those compared, and steps are taken back towards them as far as the gain in validation
    loss is not clear (`Recipe.standard_errors`). A recipe with `keep_last` takes the last epoch's without comparing.

    Args:
        net: initialised.
        batches: of training and validation.
        objective: the loss to minimise.
        recipe: epochs, patience, threads and optimiser.
        make_trainer: makes a Lightning trainer from keyword arguments.
        folder: gets `best.ckpt` and `last.ckpt`.
        seed: of dropout and of the order of batches.
        logger: gets the losses; None logs nothing.
        ckpt_path: a `last.ckpt` to resume from.
        prefix: of the logged metrics' names.
        identity: what the weights depend on (`checkpoint.describe_training`); stands in the checkpoints, and one with
            another is refused.

    Raises:
        ConfigError: `ckpt_path` is no checkpoint, or that of a training with other settings.
    """
    if ckpt_path is not None:
        checkpoints.check_checkpoint(ckpt_path, identity or {})
    pl.seed_everything(seed, workers=True, verbose=False)
    monitor = f"{prefix}val/loss"
    best = BestCheckpoint(folder, "best", monitor=monitor, auto_insert_metric_name=False, enable_version_counter=False)
    last = LastCheckpoint(folder, "last", enable_version_counter=False)
    callbacks: list[Callback] = [
        best,
        last,  # after `best`, whose state it saves
        EarlyStopping(monitor, patience=recipe.patience),
        RichProgressBar(refresh_rate=20),
    ]
    trainer = make_trainer(
        max_epochs=recipe.epochs, callbacks=callbacks, logger=logger or False, default_root_dir=folder,
        log_every_n_steps=1, enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
    )  # fmt: skip
    initial_loss, initial_state = _validation_loss(net, batches, objective), copy.deepcopy(net.state_dict())
    module = Distiller(
        net.train(), objective, recipe, prefix, identity
    )  # a pretrained encoder comes in evaluation mode
    with _threads(recipe.threads):
        _fit(trainer, module, batches, ckpt_path)
    checkpoint = (last.best_model_path or ckpt_path) if recipe.keep_last else best.best_model_path
    # The first process has written it, perhaps to a disk that others do not see.
    state = torch.load(str(checkpoint), map_location="cpu", weights_only=True) if trainer.is_global_zero else {}
    state = trainer.strategy.broadcast(state)
    module.load_state_dict(state["state_dict"])
    net.cpu().eval()
    val_loss, epoch = math.nan, int(state["epoch"]) + 1
    if recipe.keep_last:
        return FitSummary(_validation_loss(net, batches, objective), epoch, trainer.current_epoch, trainer.global_step)
    if best.best_model_score is not None:
        val_loss = float(best.best_model_score)
    if not val_loss < initial_loss:
        net.load_state_dict(initial_state)
        return FitSummary(initial_loss, 0, trainer.current_epoch, trainer.global_step, kept=0.0)
    kept = 1.0
    if recipe.standard_errors:
        kept = _take_steps_back(net, initial_state, batches, objective, recipe.standard_errors)
        val_loss, epoch = _validation_loss(net, batches, objective), epoch if kept else 0
    return FitSummary(val_loss, epoch, trainer.current_epoch, trainer.global_step, kept)


def keep_as_it_is(net: Net, batches: RouterDataModule, objective: Objective) -> FitSummary:
    """Leave a net untrained, in evaluation mode, and measure its validation loss."""
    return FitSummary(_validation_loss(net, batches, objective), 0, 0, 0, kept=0.0)


def share_of_steps(gains: Tensor, standard_errors: float) -> float:
    """Compute the share of gradient steps to keep, 1 − (s / z)², and 0 where z ≤ s.

    z is how many standard errors the validation loss has fallen by. This is the non-negative garrote of one coefficient
    (Breiman, "Better subset regression using the nonnegative garrote", Technometrics 37, 1995): steps that may be
    chance are taken back, those that lower the loss of most queries stay.

    Args:
        gains: (n,) how much less the loss of each validation query is after the steps.
        standard_errors: s, at least 0.

    Returns:
        A number in [0, 1]; 0 for a single query.
    """
    if len(gains) < 2 or not float(gains.mean()) > 0.0:
        return 0.0
    error = float(gains.std()) / math.sqrt(len(gains))
    return 1.0 - min(standard_errors * error / float(gains.mean()), 1.0) ** 2


def _take_steps_back(
    net: Net, initial: dict[str, Tensor], batches: RouterDataModule, objective: Objective, standard_errors: float
) -> float:
    """Move a net's weights towards the initial ones, in place, and return the share of the steps that is kept."""
    trained = copy.deepcopy(net.state_dict())
    losses = []
    for state in (initial, trained):
        net.load_state_dict(state)
        losses.append(_query_losses(net, batches, objective))
    kept = share_of_steps(losses[0] - losses[1], standard_errors)
    net.load_state_dict({name: torch.lerp(initial[name], weights, kept) for name, weights in trained.items()})
    return kept


def _fit(trainer: pl.Trainer, module: Distiller, batches: RouterDataModule, ckpt_path: Path | None) -> None:
    """Run Lightning's fit, with Ctrl-C as KeyboardInterrupt."""
    with warnings.catch_warnings():
        # The data are tensors in memory: worker processes would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*all_gather is deprecated.*")  # Lightning's call of torch
        warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists and is not empty.*")
        try:
            trainer.fit(module, batches, ckpt_path=str(ckpt_path) if ckpt_path else None)
        except SystemExit as end:
            # Lightning turns Ctrl-C into an exit of its own, after saving what it has.
            if trainer.interrupted:
                raise KeyboardInterrupt from end
            raise


@torch.inference_mode()
def _validation_loss(net: Net, batches: RouterDataModule, objective: Objective) -> float:
    """The mean validation loss of a net as it is."""
    net.eval()
    losses = [(float(objective(net(*inputs), *rest)), len(rest[0])) for inputs, *rest, _ in batches.val_dataloader()]
    return sum(loss * n for loss, n in losses) / sum(n for _, n in losses)


@torch.inference_mode()
def _query_losses(net: Net, batches: RouterDataModule, objective: Objective) -> Tensor:
    """The loss (n,) of each validation query by itself."""
    net.eval()
    losses = []
    for inputs, *rest, _ in batches.val_dataloader():
        rows = zip(net(*inputs).split(1), *(values.split(1) for values in rest), strict=True)
        losses += [objective(*row) for row in rows]
    return torch.stack(losses).double()


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use `count` threads of the CPU; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
