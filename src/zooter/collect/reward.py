"""Compute the rewards that are not in the cache yet: the reward stage."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zooter.collect.engine.local import LocalEngine
from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.engine.protocol import Engine, Job, Report, count_shards
from zooter.collect.rewarder.protocol import AskingRewarder, Rewarder
from zooter.collect.spending import Spending
from zooter.data.cache import ResponseCache
from zooter.data.content_keys import group_of, reward_keys
from zooter.data.shards import KEY
from zooter.data.store import shard_of
from zooter.data.types import Floats, Ints, Query, Response
from zooter.errors import RewarderError

log = logging.getLogger(__name__)

REWARD_BATCH = 1_024  # rewards computed and written together

Pairs = list[tuple[Query, Response]]


@dataclass(frozen=True)
class RewardStage:
    """Fill in the missing rewards of one rewarder.

    Attributes:
        rewarder: gives the rewards.
        cells: the cache.
        max_attempts: number of runs in which a response without a reward is tried before it is given up.
        title: names the stage on the console, such as "reward" or "truth".
        engine: where rewards are computed.
    """

    rewarder: Rewarder
    cells: ResponseCache
    max_attempts: int
    title: str = "reward"
    engine: Engine = field(default_factory=LocalEngine)

    def fill(self, load: Callable[[str], Pairs], names: Sequence[str]) -> dict[str, Floats]:
        """Compute what is missing, candidate after candidate.

        Args:
            load: candidate → the query and response of each of its cells; a response that is missing has an error.
            names: the candidates.

        Returns:
            Candidate → its rewards in the order of its cells; NaN where there is none.

        Raises:
            RewarderError: more than `max_failures` of the cells that a judge was asked for have no reward.
        """
        start_time = time.monotonic()
        plans = self._plan(load, names)
        missing = sum(len(plan.missing) for plan in plans.values())
        if missing:
            shards = count_shards((len(plan.missing) for plan in plans.values()), self.engine.shard_cells)
            job = Job(self.title, "reward", RewardWork(self.rewarder, self.cells), missing, shards)
            spending = self.engine.run(job, self._tables(load, plans)).spending
            distinct = len(pc.unique(pa.concat_arrays([plan.keys for plan in plans.values()])))
            log.info("%s: %d responses, %d of them distinct, %d computed now in %.1f s", self.title,
                     sum(len(plan.keys) for plan in plans.values()), distinct, missing,
                     time.monotonic() - start_time)  # fmt: skip
            if spending.calls:
                log.info("%s: %s", self.title, spending.describe())
            self.cells.rewards.compact()
        rewards, judged, unread = {}, 0, 0
        for name, plan in plans.items():
            values = self.cells.load_rewards(plan.keys, group_of(self.rewarder.identity()))
            rewards[name] = np.full(plan.cells, np.nan)
            rewards[name][plan.rows] = values
            judged, unread = judged + len(plan.asked), unread + int(np.isnan(values[plan.asked]).sum())
        self._check_failures(judged, unread)
        return rewards

    def _plan(self, load: Callable[[str], Pairs], names: Sequence[str]) -> dict[str, "_RewardPlan"]:
        """Find out what is missing, with one candidate's texts in memory at a time."""
        identity = self.rewarder.identity()
        group, plans = group_of(identity), dict[str, _RewardPlan]()
        planned = pa.array([], pa.string())
        for name in names:
            pairs = load(name)
            rows = np.array([i for i, (_, response) in enumerate(pairs) if response.error is None], dtype=np.int64)
            answered = unzip([pairs[i] for i in rows.tolist()])
            keys = pa.array(reward_keys(identity, *answered), pa.string())
            absent = self.cells.rewards.within(group).missing(keys)
            absent_keys = keys.take(pa.array(absent))
            attempts = self.cells.failure_counts(absent_keys, group)
            is_open = attempts < self.max_attempts
            # Two candidates may have written the same.
            is_open &= ~pc.is_in(absent_keys, value_set=planned).to_numpy(zero_copy_only=False)
            planned = pa.concat_arrays([planned, absent_keys.filter(pa.array(is_open))])
            askable = self.rewarder.askable_rows(*answered) if isinstance(self.rewarder, AskingRewarder) else []
            plans[name] = _RewardPlan(len(pairs), rows, keys, absent[is_open], attempts[is_open],
                                       np.array(askable, dtype=np.int64))  # fmt: skip
        return plans

    def _tables(self, load: Callable[[str], Pairs], plans: Mapping[str, "_RewardPlan"]) -> Iterator[pa.Table]:
        """Make tables of responses without a reward, some of one candidate each."""
        for name, plan in plans.items():
            pairs = load(name) if len(plan.missing) else []
            size = self.engine.shard_cells or len(plan.missing) or 1
            for start in range(0, len(plan.missing), size):
                part = plan.missing[start : start + size]
                keys = plan.keys.take(pa.array(part))
                cells = _cells_table([pairs[i] for i in plan.rows[part].tolist()], keys.to_pylist())
                yield cells.append_column("attempts", pa.array(plan.attempts[start : start + size]))

    def _check_failures(self, judged: int, unread: int) -> None:
        if isinstance(self.rewarder, AskingRewarder) and unread > self.rewarder.max_failures * judged:
            raise RewarderError(
                expected=f"at most {self.rewarder.max_failures:.0%} of the judge's marks to be missing",
                found=f"{unread} of {judged} ({unread / judged:.0%}) after a second attempt at each",
                do="choose another rubric or judge, or allow more with its max_failures: every reply is kept",
            )


@dataclass(frozen=True)
class _RewardPlan:
    """The rewards of one candidate."""

    cells: int  # number of its cells
    rows: Ints  # those that have a response
    keys: pa.Array  # of their rewards
    missing: Ints  # positions in `keys` to compute, each key once
    attempts: Ints  # how often each missing one has failed
    asked: Ints  # positions in `keys` that a model is asked for


@dataclass(frozen=True)
class RewardWork:
    """Compute the rewards of a table of responses, and store them in batches.

    Attributes:
        rewarder: gives the rewards.
        cells: stores them.
    """

    rewarder: Rewarder
    cells: ResponseCache

    def __call__(self, cells: pa.Table, report: Report, shard: str | None) -> None:
        """Reward the responses that no part of the shard holds a reward of yet; see `Work`."""
        identity = self.rewarder.identity()
        stores = [store.within(group_of(identity)) for store in (self.cells.rewards, self.cells.failures)]
        with shard_of(cells, stores, shard) as missing:
            for start in range(0, len(missing), REWARD_BATCH):
                keys, queries, responses = _parse_cells(missing.slice(start, REWARD_BATCH))
                before = self._spent()
                values = self.rewarder.reward(queries, responses)
                self.cells.add_rewards(keys, responses, values, identity, shard)
                failed = int(np.isnan(values).sum())
                report(Outcomes(len(keys), failed, self._spent().since(before)))

    def _spent(self) -> Spending:
        return self.rewarder.spent.copy() if isinstance(self.rewarder, AskingRewarder) else Spending()


_TEXTS = pa.list_(pa.large_string())
_CELLS = pa.schema(
    [
        (KEY, pa.string()),
        ("query_id", pa.large_string()),
        ("query", pa.large_string()),
        ("references", _TEXTS),
        ("tags", _TEXTS),
        ("candidate", pa.string()),
        ("sample", pa.int64()),
        ("response", pa.large_string()),
        ("finish_reason", pa.string()),
    ]
)  # what rewarders see of a response


def _cells_table(pairs: Pairs, keys: Sequence[str]) -> pa.Table:
    columns = zip(
        *(
            (key, query.id, query.text, query.references, query.tags, response.candidate, response.sample,
             response.text, response.finish_reason)
            for key, (query, response) in zip(keys, pairs, strict=True)
        ),
        strict=True,
    )  # fmt: skip
    return pa.table([list(column) for column in columns], schema=_CELLS)


def _parse_cells(cells: pa.Table) -> tuple[list[str], list[Query], list[Response]]:
    """Return keys, queries and responses of a table made by `_cells_table`."""
    queries, responses = [], []
    for row in cells.to_pylist():
        reference, *others = row["references"] or [None]
        queries.append(Query(row["query_id"], row["query"], reference, tuple(row["tags"]), tuple(others)))
        text, reason = row["response"], row["finish_reason"]
        responses.append(Response(row["query_id"], row["candidate"], row["sample"], text, reason))
    return cells[KEY].to_pylist(), queries, responses


def unzip(pairs: Sequence[tuple[Query, Response]]) -> tuple[list[Query], list[Response]]:
    """Split pairs into queries and responses."""
    return [query for query, _ in pairs], [response for _, response in pairs]
