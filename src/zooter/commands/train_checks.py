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
        ConfigError: the trainer cannot run on this machine, a selector cannot be replayed, or a group has unknown tags.
        RecordsError: a reward is too large, too few queries have a truth, or the table lacks what a selector needs.
    """
    _check_trainer(settings)
    tag_groups.check_groups(settings.groups or {}, table.tags.names)
    _check_rewards(table)
    _check_truth(table, parts)
    if settings.selectors and settings.records is not None:
        _check_selectors(settings.selectors, settings.records, settings.split, settings.cache_dir)


def _check_trainer(settings: TrainSettings) -> None:
    lightning = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = lightning.level
    lightning.setLevel(logging.WARNING)  # what it says of devices, it says again when training starts
    try:
        settings.trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    except (MisconfigurationException, ValueError) as error:
        raise ConfigError(
            expected="a trainer that this machine can run", found=str(error).splitlines()[0],
            do="choose trainer=auto or trainer=cpu, or correct the settings under `trainer`",
        ) from error  # fmt: skip
    finally:
        lightning.setLevel(level)


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
