"""The training and validation batches of one part of the queries, as a Lightning data module."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zooter.net import Inputs
from zooter.split import Part
from zooter.types import Ints, Labels, Rewards

Batch = tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor]


class Rows(Dataset[Batch]):
    """Some rows of the inputs with their labels, rewards and mask of observed cells; fetched a batch at a time."""

    def __init__(self, rows: Ints, inputs: Inputs, labels: Labels, rewards: Rewards) -> None:
        self.rows = rows
        self.inputs = inputs
        self.labels = torch.from_numpy(labels.values.astype(np.float32))
        self.mask = torch.from_numpy(rewards.observed)
        self.rewards = torch.from_numpy(np.nan_to_num(rewards.values).astype(np.float32))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Batch:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        # One gather a batch: a Python call per row would take most of the time with a head this small.
        rows = self.rows[list(positions)]
        return self.inputs.take(rows.tolist()), self.labels[rows], self.rewards[rows], self.mask[rows]


class Batches(pl.LightningDataModule):
    """Shuffled training batches and ordered validation batches of `part`."""

    def __init__(self, part: Part, inputs: Inputs, labels: Labels, rewards: Rewards, batch_size: int) -> None:
        super().__init__()
        self.train = Rows(part.train, inputs, labels, rewards)
        self.val = Rows(part.val, inputs, labels, rewards)
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.train, self.batch_size, shuffle=True, collate_fn=_as_is)

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.val, 4 * self.batch_size, collate_fn=_as_is)


def _as_is(batch: object) -> Batch:
    return cast(Batch, batch)
