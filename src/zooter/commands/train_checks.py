"""Refuse, before anything is computed, what a training run could not finish."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from lightning_fabric.utilities.exceptions import MisconfigurationException

from zooter.commands.train_settings import TrainSettings
from zooter.data import response_table
from zooter.data.reward_table import RewardTable
from zooter.data.split import Part, Split
from zooter.errors import ConfigError, RecordsError
from zooter.evaluation import harness, tag_groups
from zooter.selector.protocol import Selector
from zooter.training import checkpoint
from zooter.training.tagger.protocol import AskingTagger

log = logging.getLogger(__name__)

MAX_REWARD = 1e9  # in magnitude: the squares of larger ones are out of a float32's range, or all others vanish
MIN_TRUTHS, FEW_TRUTHS = 10, 50  # test queries with a truth: fewer are refused, or warned of


def check_run(settings: TrainSettings, table: RewardTable, parts: Sequence[Part]) -> None:
    """Refuse settings and a table that training or its evaluation would stumble over later.

    Args:
        settings: those of the run.
        table: n queries.
        parts: their divisions, each tested on.

    Raises:
        ConfigError: a selector cannot be replayed, or a group has unknown tags.
        RecordsError: a reward is too large, too few queries have a truth, or the table lacks what a selector needs.
    """
    tag_groups.check_groups(settings.groups or {}, table.tags.names)
    _check_rewards(table)
    _check_truth(table, parts)
    if settings.selectors and settings.records is not None:
        _check_selectors(settings.selectors, settings.records, settings.split, settings.cache_dir)


def check_settings(settings: TrainSettings) -> None:
    """Refuse, before a table is read or recorded, what can be seen without one.

    These are a checkpoint that cannot be read, a trainer that cannot run here, and work that several processes (DDP)
    would all do.

    Args:
        settings: those of the run.

    Raises:
        ConfigError: the checkpoint is none of zooter's; the trainer does not suit this machine or the processes that
            were started; or there are several processes, and the encoder is not trained, or something is to be asked or
            imported first.
    """
    if settings.ckpt_path is not None:
        checkpoint.read_identity(settings.ckpt_path)
    lightning = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = lightning.level
    lightning.setLevel(logging.WARNING)  # what it says of devices, it says again when training starts
    try:
        trainer = settings.trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    except (MisconfigurationException, ValueError) as error:
        raise ConfigError(
            expected="a trainer that this machine can run", found=str(error).splitlines()[0],
            do="choose trainer=auto or trainer=cpu (ddp with torchrun), or correct the settings under `trainer`",
        ) from error  # fmt: skip
    finally:
        lightning.setLevel(level)
    if trainer.world_size > 1:
        _check_work_of_processes(settings, trainer.world_size)


def _check_work_of_processes(settings: TrainSettings, count: int) -> None:
    """Refuse what one process should do alone, before others are started."""
    refused = {
        "a net that trains its encoder": (
            not settings.net.trains_encoder,
            f"{type(settings.net).__name__}, which trains a small head on stored embeddings in seconds",
            "set trainer=auto, or net=finetune",
        ),
        "a recorded table": (
            settings.reader is not None or settings.format is not None,
            "candidates to ask, or a table to import",
            "run that first, in one process: until=reward, or zooter import; then records=FILE",
        ),
        "a tagger that asks nobody": (
            isinstance(settings.tagger, AskingTagger),
            f"{type(settings.tagger).__name__}, which asks a model",
            "run until=tag first, in one process, then records=RUN/labels.parquet tagger=column",
        ),
    }
    for expected, (is_refused, actual, do) in refused.items():
        if is_refused:
            raise ConfigError(expected=f"{expected}, to train in {count} processes", found=actual, do=do)


def _check_rewards(table: RewardTable) -> None:
    large = np.argwhere(np.abs(np.nan_to_num(table.rewards.values)) > MAX_REWARD)
    if len(large):
        row, column = large[0]
        raise RecordsError(
            expected=f"rewards between {-MAX_REWARD:g} and {MAX_REWARD:g}",
            found=f"{table.rewards.values[row, column]:g} of {table.pool.names[column]} for the query "
            f"{table.queries[row][:60]!r}, and {len(large) - 1} more",
            do="divide the rewards by a constant, or correct these",
        )


def _check_truth(table: RewardTable, parts: Sequence[Part]) -> None:
    if table.truth is None:
        return
    tested = np.concatenate([part.test for part in parts])
    count = int(table.truth.observed[tested].any(axis=1).sum())
    if count < MIN_TRUTHS:
        raise RecordsError(
            expected=f"a truth for {MIN_TRUTHS} test queries or more, by which methods are measured",
            found=f"{count} of {len(tested)} test queries with one",
            do="record more, set folds=5 to test on every query, or leave the column `truth` out to measure by rewards",
        )
    if count < FEW_TRUTHS:
        log.warning("only %d of %d test queries have a truth: all figures rest on these", count, len(tested))


def _check_selectors(selectors: Mapping[str, Selector], records: Path, split: Split, cache_dir: Path) -> None:
    """Check the table for every selector; one that is to choose its candidates is fitted now, for only then it can."""
    table = harness.drop_unmeasurable(response_table.read(records))[0]
    part = split.parts(table.texts)[0]
    tables = [table.take(rows) for rows in (part.train, part.val, part.test)]
    harness.check_needs(selectors, tables)
    fitted = {
        name: harness.fit_selector(selector, tables[0], tables[1], cache_dir)
        for name, selector in selectors.items()
        if selector.needs.candidates == ()
    }
    harness.check_needs(fitted, tables[2:])
