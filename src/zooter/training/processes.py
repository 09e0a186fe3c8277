"""Several processes that train one net: which comes first, and what they must not all do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.utilities import rank_zero_only

MAX_WAIT = timedelta(days=7)  # for the first process, which may have millions of queries to embed


def is_first_process() -> bool:
    """Return whether this process writes the run folder: it is alone, or the first of those that train one net."""
    return getattr(rank_zero_only, "rank", 0) == 0


@contextmanager
def first_process_first(make_trainer: Callable[..., pl.Trainer]) -> Iterator[None]:
    """Let the first of several processes run a block before the others: it fills caches that they read then.

    Processes of torchrun, Slurm and Ray start together, and wait. Those that Lightning starts itself come when the
    first one begins to train.

    Args:
        make_trainer: makes a Lightning trainer from keyword arguments.
    """
    trainer = make_trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.world_size == 1 or type(environment) is LightningEnvironment:
        yield
        return
    trainer.strategy.setup_environment()
    turns = torch.distributed.new_group(backend="gloo", timeout=MAX_WAIT)
    if trainer.is_global_zero:
        yield
    torch.distributed.barrier(turns)
    if not trainer.is_global_zero:
        yield
