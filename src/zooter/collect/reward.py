"""Compute the rewards that are not in the cache yet: the reward stage."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zooter.collect.engine.local import LocalEngine
from zooter.collect.engine.outcomes import Outcomes
from zooter.collect.engine.protocol import Engine, Job, Report
from zooter.collect.rewarder.protocol import AskingRewarder, Rewarder
from zooter.collect.spending import Spending
from zooter.data.cache import ResponseCache
from zooter.data.content_keys import group_of, reward_keys
from zooter.data.shards import KEY
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
        identity, start_time = self.rewarder.identity(), time.monotonic()
        group, spent = group_of(identity), Spending()
        rewards: dict[str, Floats] = {}
        distinct: set[str] = set()
        computed = responses = judged = unread = 0
        for name in names:
            pairs = load(name)
            rows = [i for i, (_, response) in enumerate(pairs) if response.error is None]
            answered = [pairs[i] for i in rows]
            keys = reward_keys(identity, *unzip(answered))
            missing = self._missing(pa.array(keys, pa.string()), group)
            if len(missing):
                job = Job(f"{self.title} {name}", "reward", RewardWork(self.rewarder, self.cells), len(missing))
                spent = spent.plus(self.engine.run(job, self._tables(answered, keys, missing)).spending)
            values = self.cells.load_rewards(keys, group)
            rewards[name] = np.full(len(pairs), np.nan)
            rewards[name][rows] = values
            distinct.update(keys)
            computed, responses = computed + len(missing), responses + len(rows)
            if isinstance(self.rewarder, AskingRewarder):
                asked = self.rewarder.askable_rows(*unzip(answered))
                judged, unread = judged + len(asked), unread + int(np.isnan(values[asked]).sum())
        if computed:
            log.info("%s: %d responses, %d of them distinct, %d computed now in %.1f s", self.title, responses,
                     len(distinct), computed, time.monotonic() - start_time)  # fmt: skip
            self.cells.rewards.compact()
        if spent.calls:
            log.info("%s: %s", self.title, spent.describe())
        self._check_failures(judged, unread)
        return rewards

    def _missing(self, keys: pa.Array, group: str) -> Ints:
        """First position of each reward key that has no value and may still be tried."""
        absent = self.cells.rewards.within(group).missing(keys)
        attempts = self.cells.failure_counts(keys.take(pa.array(absent)), group)
        return absent[attempts < self.max_attempts]

    def _tables(self, pairs: Pairs, keys: Sequence[str], missing: Ints) -> Iterator[pa.Table]:
        size = self.engine.job_cells or len(missing)
        for start in range(0, len(missing), size):
            rows = missing[start : start + size].tolist()
            yield _cells_table([pairs[i] for i in rows], [keys[i] for i in rows])

    def _check_failures(self, judged: int, unread: int) -> None:
        if isinstance(self.rewarder, AskingRewarder) and unread > self.rewarder.max_failures * judged:
            raise RewarderError(
                expected=f"at most {self.rewarder.max_failures:.0%} of the judge's marks to be missing",
                found=f"{unread} of {judged} ({unread / judged:.0%}) after a second attempt at each",
                do="choose another rubric or judge, or allow more with its max_failures: every reply is kept",
            )


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
        if shard is not None:
            for store in stores:
                cells = cells.filter(pc.invert(pc.is_in(cells[KEY], value_set=store.named_keys(shard))))
        for start in range(0, len(cells), REWARD_BATCH):
            keys, queries, responses = _parse_cells(cells.slice(start, REWARD_BATCH))
            before = self._spent()
            values = self.rewarder.reward(queries, responses)
            self.cells.add_rewards(keys, responses, values, identity, shard)
            failed = int(np.isnan(values).sum())
            report(Outcomes(len(keys), failed, self._spent().since(before)))
        if shard is not None:
            for store in stores:
                store.merge_parts(shard)

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
