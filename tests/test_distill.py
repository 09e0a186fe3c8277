"""Which weights a training ends with, whatever its losses and wherever it goes on."""

import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from zooter import start
from zooter.batches import Batches
from zooter.distill import Fit, distill
from zooter.net import FeatureInputs, Frozen, Net
from zooter.split import Part
from zooter.types import Labels, Rewards, Tags

NAMES = ("x", "y")
VALUES = np.array([[1.0, 0.0], [0.0, 1.0]] * 10)
FEATURES = torch.tensor([[1.0], [-1.0]] * 10)
PART = Part(np.arange(12), np.arange(12, 16), np.arange(16, 20))


class Given:
    """An objective with given validation losses, in turn; training moves the weights in any case."""

    def __init__(self, losses: Iterable[float]) -> None:
        self.losses: Iterator[float] = iter(losses)

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        return logits[:, 0].mean() if torch.is_grad_enabled() else torch.tensor(next(self.losses))


def fit(losses: list[float], folder: Path, epochs: int, ckpt_path: Path | None = None) -> tuple[Fit, list[Tensor]]:
    """How it ended, and the net's weights. The first loss is that of the start, then one for each epoch."""
    torch.manual_seed(0)
    rewards, recipe = Rewards(VALUES, NAMES), Frozen(width=4, epochs=epochs, patience=9, lr=0.01)
    net = Net(start.start(FEATURES, rewards, [Tags.none(20)], temperature=1.0, width=4, dropout=0.0))
    batches = Batches(PART, FeatureInputs(FEATURES), Labels(VALUES, NAMES), rewards, batch_size=12)
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1, enable_progress_bar=True, deterministic=True)
    found = distill(net, batches, Given(losses), recipe, trainer, folder=folder, seed=0, ckpt_path=ckpt_path)
    return found, [weights.clone() for weights in net.state_dict().values()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    # Batches in another order sum up otherwise; a step of AdamW is 0.01.
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other, strict=True))


def test_a_perfect_validation_loss_of_exactly_0_is_the_best(tmp_path: Path) -> None:
    found, weights = fit([1.0, 0.0, 0.5], tmp_path / "a", epochs=2)
    assert (found.val_loss, found.best_epoch, found.epochs) == (0.0, 1, 2)
    assert same(weights, fit([1.0, 0.0], tmp_path / "b", epochs=1)[1])


def test_a_start_that_no_epoch_beats_stays(tmp_path: Path) -> None:
    found, weights = fit([0.0, 0.0, 0.5], tmp_path / "a", epochs=2)
    assert (found.val_loss, found.best_epoch, found.epochs) == (0.0, 0, 2)
    assert not same(weights, fit([1.0, 0.0], tmp_path / "b", epochs=1)[1])


@pytest.mark.parametrize(("later", "best"), [([0.3, 0.4], 1), ([0.3, 0.1], 4)])
def test_a_run_that_goes_on_in_another_folder_knows_its_best_so_far(
    tmp_path: Path, later: list[float], best: int
) -> None:
    _, at_once = fit([1.0, 0.2, 0.5, *later], tmp_path / "whole", epochs=4)
    fit([1.0, 0.2, 0.5], tmp_path / "half", epochs=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*dirpath has changed.*")
        found, weights = fit([1.0, *later], tmp_path / "rest", 4, tmp_path / "half" / "last.ckpt")
    assert (found.val_loss, found.best_epoch, found.epochs) == (pytest.approx(min(0.2, *later)), best, 4)
    assert same(weights, at_once)
    assert (tmp_path / "half" / "best.ckpt").is_file()
