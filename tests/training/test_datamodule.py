"""Batches of texts of about equal length, in an order that depends on seed and epoch alone."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from zooter.data.split import Part
from zooter.data.types import Labels, Rewards, Tags
from zooter.training.datamodule import BUCKET_BATCHES, LengthBucketSampler, RouterDataModule, join_parts, part_of
from zooter.training.inputs import FeatureInputs


@given(lengths=st.lists(st.integers(1, 512), min_size=1, max_size=900), size=st.integers(1, 16))
def test_every_query_comes_once_an_epoch(lengths: list[int], size: int) -> None:
    sampler = LengthBucketSampler(np.array(lengths), size)
    assert sorted(sampler) == list(range(len(lengths)))
    assert len(sampler) == len(lengths)


def test_queries_of_one_batch_are_about_equally_long() -> None:
    lengths = np.random.default_rng(0).permutation(8 * BUCKET_BATCHES)
    batches = np.array(list(LengthBucketSampler(lengths, 8))).reshape(-1, 8)
    assert np.ptp(lengths[batches], axis=1).max() == 7  # those that are sorted together are all of them: 0…7, 8…15
    assert (np.diff(lengths[batches].min(axis=1)) < 0).any()  # batches come in no order of length


def test_a_batch_that_is_not_full_is_the_last() -> None:
    lengths = np.array([1, 1, 1, 9, 9, 9, 30])
    order = list(LengthBucketSampler(lengths, 3))
    assert order[-1] == 6
    assert {tuple(sorted(lengths[order[i : i + 3]])) for i in (0, 3)} == {(1, 1, 1), (9, 9, 9)}


def test_each_epoch_has_its_own_order_and_it_can_be_repeated() -> None:
    lengths = np.arange(100)
    sampler, other = LengthBucketSampler(lengths, 4), LengthBucketSampler(lengths, 4)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first == list(other)
    assert list(LengthBucketSampler(lengths, 4, seed=1)) != first


def test_rows_without_a_text_are_shuffled() -> None:
    rewards = Rewards(np.eye(3), ("a", "b", "c"))
    part = Part(np.arange(3), np.arange(0), np.arange(0))
    batches = RouterDataModule(part, FeatureInputs(torch.eye(3)), Labels(np.eye(3), rewards.candidates), rewards, 2)
    seen = torch.cat([inputs[0] for inputs, *_ in batches.train_dataloader()])
    assert seen.sum(dim=0).tolist() == [1.0, 1.0, 1.0]


def test_tags_of_training_rows_come_with_these_rows_and_validation_has_none() -> None:
    rewards = Rewards(np.eye(4), ("a", "b", "c", "d"))
    part = Part(np.array([3, 1]), np.array([0, 2]), np.arange(0))
    tag_sets = [Tags.from_rows([["of 3"], ["of 1"]])]  # columns in alphabetical order: of 1, of 3
    labels = Labels(np.eye(4), rewards.candidates)
    batches = RouterDataModule(part, FeatureInputs(torch.eye(4)), labels, rewards, 1, tag_sets=tag_sets)
    tags_by_row = {int(inputs[0].argmax()): tags[0].tolist() for inputs, *_, tags in batches.train_dataloader()}
    assert tags_by_row == {1: [[1.0, 0.0]], 3: [[0.0, 1.0]]}
    assert [tags for *_, tags in batches.val_dataloader()] == [()]


def test_processes_take_turns_and_the_first_row_fills_what_is_short() -> None:
    rows = np.array([7, 5, 3, 1])
    assert [part_of(rows, process, 3).tolist() for process in range(3)] == [[7, 1], [5, 7], [3, 7]]


@given(count=st.integers(1, 40), processes=st.integers(1, 9))
def test_parts_of_a_batch_are_joined_in_its_order(count: int, processes: int) -> None:
    parts = np.stack([part_of(np.arange(count), process, processes) for process in range(processes)])
    assert join_parts(torch.from_numpy(parts)[..., None], count).ravel().tolist() == list(range(count))


def test_a_process_gets_the_inputs_of_its_part_and_the_labels_of_the_whole_batch() -> None:
    rewards = Rewards(np.eye(3), ("a", "b", "c"))
    part = Part(np.arange(3), np.arange(3), np.arange(0))
    batches = RouterDataModule(part, FeatureInputs(torch.eye(3)), Labels(np.eye(3), rewards.candidates), rewards, 3)
    batches.val.process, batches.val.processes = 1, 2
    [(inputs, labels, *_)] = batches.val_dataloader()
    assert inputs[0].tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    assert labels.tolist() == np.eye(3).tolist()
