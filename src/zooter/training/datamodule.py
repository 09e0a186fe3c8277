"""Load the training and validation batches of one part of the queries, as a Lightning data module."""

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from zooter.data.split import Part
from zooter.data.types import Ints, Labels, Rewards, Tags
from zooter.training.inputs import Inputs

# The net's inputs, of this process's part of the queries; labels, rewards and mask of observed cells, (b, m) each;
# membership (b, t) in each tag set.
Batch = tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor, tuple[Tensor, ...]]
BUCKET_BATCHES = 50  # batches whose queries are sorted by length together: little padding, and still random


class RouterDataset(Dataset[Batch]):
    """Some rows of the inputs with their labels, rewards, mask of observed cells and tags; fetched a batch at a time.

    Of several processes that train one net, each gets the same batches, but the inputs of its own part of them only
    (`part_of`).

    Args:
        rows: (r,) row numbers in inputs, labels and rewards.
        inputs: of all n queries.
        labels: (n, m).
        rewards: (n, m).
        tag_sets: tags (r, t) of just these rows, for each set.
    """

    def __init__(
        self, rows: Ints, inputs: Inputs, labels: Labels, rewards: Rewards, tag_sets: Sequence[Tags] = ()
    ) -> None:
        self.rows = rows
        self.inputs = inputs
        self.process, self.processes = 0, 1
        self.memberships = [tags.membership for tags in tag_sets]
        self.labels = torch.from_numpy(labels.values.astype(np.float32))
        self.mask = torch.from_numpy(rewards.observed)
        self.rewards = torch.from_numpy(np.nan_to_num(rewards.values).astype(np.float32))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Batch:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Gather a batch at once: a Python call per row would take most of the time with a head this small."""
        positions = list(positions)
        rows = self.rows[positions]
        inputs = self.inputs.take(part_of(rows, self.process, self.processes).tolist())
        tags = tuple(torch.from_numpy(membership[positions].toarray()).float() for membership in self.memberships)
        return inputs, self.labels[rows], self.rewards[rows], self.mask[rows], tags


def part_of(rows: Ints, process: int, processes: int) -> Ints:
    """Select one process's part of a batch: every k-th row, and the first row again where others have one more.

    In a batch sorted by length the parts are about equally long.

    Args:
        rows: (b,) row numbers of the batch.
        process: number of the process, from 0.
        processes: k, how many there are.

    Returns:
        (⌈b / k⌉,) row numbers, as many for every process.
    """
    padding = np.repeat(rows[:1], -len(rows) % processes)
    return np.concatenate([rows, padding])[process::processes]


def join_parts(parts: Tensor, count: int) -> Tensor:
    """Put what the processes computed of their parts of a batch into the batch's order.

    Args:
        parts: (k, ⌈b / k⌉, d), of each process in turn.
        count: b, the rows of the batch.

    Returns:
        (b, d).
    """
    return parts.transpose(0, 1).flatten(0, 1)[:count]


class LengthBucketSampler(Sampler[int]):
    """A shuffled order in which the queries of one batch are about equally long, so that little is padded.

    The order depends on the seed and the epoch alone: processes agree on it, and a resumed run repeats it.

    Args:
        lengths: (r,) in tokens.
        batch_size: queries per batch.
        seed: of the order.
    """

    def __init__(self, lengths: Ints, batch_size: int, seed: int = 0) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0; Lightning calls this before each one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order, bucket_size = rng.permutation(len(self.lengths)), BUCKET_BATCHES * self.batch_size
        batches = []
        for i in range(0, len(order), bucket_size):
            bucket = order[i : i + bucket_size]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            batches += [bucket[j : j + self.batch_size] for j in range(0, len(bucket), self.batch_size)]
        full = len(order) // self.batch_size
        # A batch that is not full stays the last: the loader cuts this order into batches by number.
        for k in [*rng.permutation(full).tolist(), *range(full, len(batches))]:
            yield from batches[k].tolist()


class RouterDataModule(pl.LightningDataModule):
    """Shuffled training batches, of about equally long texts where there are texts; ordered validation batches.

    Args:
        part: row numbers to train and to validate on.
        inputs: of all n queries.
        labels: (n, m).
        rewards: (n, m).
        batch_size: training queries per step.
        seed: of the order of texts.
        tag_sets: tags (r, t) of the r training rows, for each set that is learned beside the labels.
    """

    def __init__(
        self,
        part: Part,
        inputs: Inputs,
        labels: Labels,
        rewards: Rewards,
        batch_size: int,
        seed: int = 0,
        tag_sets: Sequence[Tags] = (),
    ) -> None:
        super().__init__()
        self.train = RouterDataset(part.train, inputs, labels, rewards, tag_sets)
        self.val = RouterDataset(part.val, inputs, labels, rewards)
        self.batch_size = batch_size
        self.seed = seed

    def setup(self, stage: str) -> None:
        """Take this process's part of the batches; Lightning calls this when it starts to train."""
        assert self.trainer is not None
        for dataset in (self.train, self.val):
            dataset.process, dataset.processes = self.trainer.global_rank, self.trainer.world_size

    def teardown(self, stage: str) -> None:
        """Take whole batches again, after training."""
        for dataset in (self.train, self.val):
            dataset.process, dataset.processes = 0, 1

    def train_dataloader(self) -> DataLoader[Batch]:
        """Load training batches, in another order each epoch."""
        lengths = self.train.inputs.lengths
        if lengths is None:
            return DataLoader(self.train, self.batch_size, shuffle=True, collate_fn=_as_is)
        sampler = LengthBucketSampler(lengths[self.train.rows], self.batch_size, self.seed)
        return DataLoader(self.train, self.batch_size, sampler=sampler, collate_fn=_as_is)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Load validation batches in the order of rows; four times the size, for there are no gradients."""
        return DataLoader(self.val, 4 * self.batch_size, collate_fn=_as_is)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch's tensors; Lightning's own walks any nesting of them, and is slow."""

        def move(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            """Move tensors without waiting for the copies."""
            return tuple(x.to(device, non_blocking=True) for x in tensors)

        inputs, labels, rewards, mask, tags = batch
        return (move(inputs), *move((labels, rewards, mask)), move(tags))  # type: ignore[return-value]


def _as_is(batch: object) -> Batch:
    return cast(Batch, batch)
