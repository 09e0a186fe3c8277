"""The training and validation batches of one part of the queries, as a Lightning data module."""

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from zooter.data.split import Part
from zooter.data.types import Ints, Labels, Rewards, Tags
from zooter.training.recipe import Inputs

Batch = tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor, tuple[Tensor, ...]]
BUCKET_BATCHES = 50  # batches whose queries are sorted by length together: little padding, and still much chance


class RouterDataset(Dataset[Batch]):
    """Some rows of the inputs with their labels, rewards, mask of observed cells and tags; fetched a batch at a time.

    Args:
        rows: (r,) of the inputs, labels and rewards.
        views: sets of tags of just these rows, (r, t) each.
    """

    def __init__(
        self, rows: Ints, inputs: Inputs, labels: Labels, rewards: Rewards, views: Sequence[Tags] = ()
    ) -> None:
        self.rows = rows
        self.inputs = inputs
        self.views = [view.membership for view in views]
        self.labels = torch.from_numpy(labels.values.astype(np.float32))
        self.mask = torch.from_numpy(rewards.observed)
        self.rewards = torch.from_numpy(np.nan_to_num(rewards.values).astype(np.float32))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Batch:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        # One gather a batch: a Python call per row would take most of the time with a head this small.
        some = list(positions)
        rows = self.rows[some]
        carried = tuple(torch.from_numpy(view[some].toarray()).float() for view in self.views)
        return self.inputs.take(rows.tolist()), self.labels[rows], self.rewards[rows], self.mask[rows], carried


class LengthBucketSampler(Sampler[int]):
    """A shuffled order in which the queries of one batch are about equally long, so that little is padded.

    The order depends on the seed and the epoch alone: processes agree on it, and a run that goes on repeats it.
    """

    def __init__(self, lengths: Ints, batch_size: int, seed: int = 0) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order, size = rng.permutation(len(self.lengths)), BUCKET_BATCHES * self.batch_size
        batches = []
        for i in range(0, len(order), size):
            some = order[i : i + size]
            some = some[np.argsort(self.lengths[some], kind="stable")]
            batches += [some[j : j + self.batch_size] for j in range(0, len(some), self.batch_size)]
        full = (
            len(order) // self.batch_size
        )  # one that is not stays the last: batches are cut from this order by number
        for k in [*rng.permutation(full).tolist(), *range(full, len(batches))]:
            yield from batches[k].tolist()


class RouterDataModule(pl.LightningDataModule):
    """Shuffled training batches, of about equally long texts where there are texts; ordered validation batches.

    Args:
        views: sets of tags of the training rows, which are learned beside the labels.
    """

    def __init__(
        self,
        part: Part,
        inputs: Inputs,
        labels: Labels,
        rewards: Rewards,
        batch_size: int,
        seed: int = 0,
        views: Sequence[Tags] = (),
    ) -> None:
        super().__init__()
        self.train = RouterDataset(part.train, inputs, labels, rewards, views)
        self.val = RouterDataset(part.val, inputs, labels, rewards)
        self.batch_size = batch_size
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Batch]:
        lengths = self.train.inputs.lengths
        if lengths is None:
            return DataLoader(self.train, self.batch_size, shuffle=True, collate_fn=_as_is)
        sampler = LengthBucketSampler(lengths[self.train.rows], self.batch_size, self.seed)
        return DataLoader(self.train, self.batch_size, sampler=sampler, collate_fn=_as_is)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """What Lightning does too, for anything that batches can be and therefore slowly."""

        def there(part: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(x.to(device, non_blocking=True) for x in part)

        inputs, labels, rewards, mask, carried = batch
        return (there(inputs), *there((labels, rewards, mask)), there(carried))  # type: ignore[return-value]

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.val, 4 * self.batch_size, collate_fn=_as_is)


def _as_is(batch: object) -> Batch:
    return cast(Batch, batch)
