"""Which weights a training ends with, whatever its losses and wherever it is resumed."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_constant_schedule_with_warmup

from zooter.data.split import Part
from zooter.data.types import Labels, Rewards, Tags
from zooter.router.net import Net
from zooter.training import head_init
from zooter.training.datamodule import RouterDataModule
from zooter.training.distill import FitSummary, distill, share_of_steps
from zooter.training.inputs import FeatureInputs
from zooter.training.losses import ForwardKL
from zooter.training.recipe import FrozenRecipe

NAMES = ("x", "y")
VALUES = np.array([[1.0, 0.0], [0.0, 1.0]] * 10)
FEATURES = torch.tensor([[1.0], [-1.0]] * 10)
PART = Part(np.arange(12), np.arange(12, 16), np.arange(16, 20))


class FixedLosses:
    """An objective with fixed validation losses, in turn; training moves the weights in any case."""

    def __init__(self, losses: Iterable[float]) -> None:
        self.losses: Iterator[float] = iter(losses)

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        return logits[:, 0].mean() if torch.is_grad_enabled() else torch.tensor(next(self.losses))


def fit(
    losses: list[float], folder: Path, epochs: int, ckpt_path: Path | None = None
) -> tuple[FitSummary, list[Tensor]]:
    """Train; return the summary and the net's weights. The first loss is of the initial net, then one an epoch."""
    torch.manual_seed(0)
    rewards, recipe = (
        Rewards(VALUES, NAMES),
        FrozenRecipe(width=4, epochs=epochs, patience=9, lr=0.01, standard_errors=0.0),
    )
    net = Net(head_init.init_head(FEATURES, rewards, [Tags.empty(20)], temperature=1.0, width=4, dropout=0.0))
    batches = RouterDataModule(PART, FeatureInputs(FEATURES), Labels(VALUES, NAMES), rewards, batch_size=12)
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1, enable_progress_bar=True, deterministic=True)
    summary = distill(net, batches, FixedLosses(losses), recipe, trainer, folder=folder, seed=0, ckpt_path=ckpt_path)
    return summary, [weights.clone() for weights in net.state_dict().values()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    # Batches in another order sum up otherwise; a step of AdamW is 0.01.
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(first, second, strict=True))


def test_a_perfect_validation_loss_of_exactly_0_is_the_best(tmp_path: Path) -> None:
    summary, weights = fit([1.0, 0.0, 0.5], tmp_path / "a", epochs=2)
    assert (summary.val_loss, summary.best_epoch, summary.epochs) == (0.0, 1, 2)
    assert same(weights, fit([1.0, 0.0], tmp_path / "b", epochs=1)[1])


def test_the_initial_net_stays_when_no_epoch_beats_it(tmp_path: Path) -> None:
    summary, weights = fit([0.0, 0.0, 0.5], tmp_path / "a", epochs=2)
    assert (summary.val_loss, summary.best_epoch, summary.epochs) == (0.0, 0, 2)
    assert not same(weights, fit([1.0, 0.0], tmp_path / "b", epochs=1)[1])


@pytest.mark.parametrize(("later", "best"), [([0.3, 0.4], 1), ([0.3, 0.1], 4)])
def test_a_run_resumed_in_another_folder_keeps_its_best_so_far(tmp_path: Path, later: list[float], best: int) -> None:
    _, at_once = fit([1.0, 0.2, 0.5, *later], tmp_path / "whole", epochs=4)
    fit([1.0, 0.2, 0.5], tmp_path / "half", epochs=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*dirpath has changed.*")
        summary, weights = fit([1.0, *later], tmp_path / "rest", 4, tmp_path / "half" / "last.ckpt")
    assert (summary.val_loss, summary.best_epoch, summary.epochs) == (pytest.approx(min(0.2, *later)), best, 4)
    assert same(weights, at_once)
    assert (tmp_path / "half" / "best.ckpt").is_file()


class ZeroObjective:
    """An objective without gradient, so that only the tags' loss moves weights."""

    def __call__(self, logits: Tensor, labels: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        return 0.0 * logits.sum() + (0.0 if torch.is_grad_enabled() else next(self.losses))

    def __init__(self) -> None:
        self.losses = iter([1.0, 0.5])


@dataclass(frozen=True)
class TagsOnlyRecipe(FrozenRecipe):
    """Trains tag classifiers alone."""

    tag_weight = 0.5

    def make_optimizer(self, net: Net, steps: int) -> tuple[Optimizer, LRScheduler]:
        optimizer = SGD(net.head.classifiers.parameters(), lr=1.0)
        return optimizer, get_constant_schedule_with_warmup(optimizer, 0)


def test_tags_are_learned_beside_the_objective_by_their_weight(tmp_path: Path) -> None:
    rewards, tags = Rewards(VALUES, NAMES), Tags.from_rows([["right"], ["left"]] * 6)
    net = Net(head_init.init_head(FEATURES, rewards, [tags_of_all()], temperature=1.0, width=4, dropout=0.0))
    linear = net.head.classifiers[0]
    assert isinstance(linear, torch.nn.Linear)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    batches = RouterDataModule(
        PART, FeatureInputs(FEATURES), Labels(VALUES, NAMES), rewards, batch_size=12, tag_sets=[tags]
    )
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1, enable_progress_bar=True, deterministic=True)
    distill(
        net,
        batches,
        ZeroObjective(),
        TagsOnlyRecipe(width=4, epochs=1, standard_errors=0.0),
        trainer,
        folder=tmp_path,
        seed=0,
    )
    # Cross-entropy at probabilities of ½ has the gradient (p − 1)·z = −½·z for a query's own tag, half of it with this
    # weight; features are standardised to ±1/1.001, and rows are +1 "right", −1 "left" by turns.
    assert linear.weight.detach().ravel().tolist() == pytest.approx([-0.25 / 1.001, 0.25 / 1.001], rel=1e-3)
    assert linear.bias.detach().tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def tags_of_all() -> Tags:
    return Tags.from_rows([["right"], ["left"]] * 10)


def test_steps_are_kept_by_how_clear_their_gain_is() -> None:
    # Mean 2, variance 2, of two queries: a standard error of 1, and z = 2.
    assert share_of_steps(torch.tensor([3.0, 1.0]), 1.0) == pytest.approx(0.75)
    assert share_of_steps(torch.tensor([3.0, 1.0]), 2.1) == 0.0
    assert share_of_steps(torch.tensor([3.0, 1.0]), 0.0) == 1.0
    assert share_of_steps(torch.tensor([0.5, 0.5]), 2.0) == 1.0
    assert share_of_steps(torch.tensor([-1.0, 0.5]), 0.0) == 0.0
    assert share_of_steps(torch.tensor([5.0]), 0.0) == 0.0


@given(hnp.arrays(np.float64, st.integers(2, 9), elements=st.floats(-1, 1)), st.floats(0, 4), st.floats(0, 4))
def test_a_share_of_steps_is_one_and_falls_with_the_standard_errors_asked_for(
    gains: np.ndarray, first: float, second: float
) -> None:
    low, high = sorted((first, second))
    assert 0.0 <= share_of_steps(torch.from_numpy(gains), high) <= share_of_steps(torch.from_numpy(gains), low) <= 1.0


def fit_labels(folder: Path, standard_errors: float) -> tuple[FitSummary, list[Tensor]]:
    """Train on labels that follow the feature, and validate on four of which the last does not."""
    torch.manual_seed(0)
    rewards, values = Rewards(VALUES, NAMES), VALUES.copy()
    values[15] = values[14]
    recipe = FrozenRecipe(width=4, epochs=9, patience=9, lr=0.02, dropout=0.0, standard_errors=standard_errors)
    net = Net(head_init.init_head(FEATURES, rewards, [Tags.empty(20)], temperature=1.0, width=4, dropout=0.0))
    batches = RouterDataModule(PART, FeatureInputs(FEATURES), Labels(values, NAMES), rewards, batch_size=12)
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1, deterministic=True)
    summary = distill(net, batches, ForwardKL(), recipe, trainer, folder=folder, seed=0)
    return summary, [weights.clone() for weights in net.state_dict().values()]


def test_steps_are_taken_back_towards_the_initial_net_as_far_as_their_gain_is_not_clear(tmp_path: Path) -> None:
    (nothing, initial), (part, between), (whole, trained) = (
        fit_labels(tmp_path / str(errors), errors) for errors in (9.0, 0.3, 0.0)
    )
    assert (nothing.kept, nothing.best_epoch, whole.kept) == (0.0, 0, 1.0)
    assert 0.0 < part.kept < 1.0
    assert part.best_epoch == whole.best_epoch > 0
    expected = [torch.lerp(a, b, part.kept) for a, b in zip(initial, trained, strict=True)]
    assert same(between, expected)
    assert not same(between, trained)
    assert whole.val_loss < nothing.val_loss
