"""Ask candidates for the responses that are not in the cache yet: the respond stage."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pydantic import PositiveFloat, PositiveInt

from zooter.collect.engine.local import LocalEngine
from zooter.collect.engine.outcomes import FailureCounts, Outcomes, too_many_failures
from zooter.collect.engine.protocol import Engine, Job, Report, count_shards
from zooter.collect.responder.protocol import Request, Responder
from zooter.data.cache import ResponseCache
from zooter.data.component import Fraction, component
from zooter.data.content_keys import canonical_json, group_of, response_key_array
from zooter.data.pool import Pool
from zooter.data.shards import KEY
from zooter.data.store import shard_of
from zooter.data.types import Ints, Query, Response
from zooter.errors import ConfigError

log = logging.getLogger(__name__)


@component
class FillPolicy:
    """How missing cells are filled.

    Attributes:
        samples: responses per query and candidate, 1 or more.
        batch: cells written together; a killed run asks again for so many at most.
        seconds: time after which a smaller batch is written too.
        max_attempts: number of runs in which a failed call is tried before it is given up.
        max_failures: share of a candidate's cells that may fail, in [0, 1]; more of them stop the run.
    """

    samples: PositiveInt = 1
    batch: PositiveInt = 256
    seconds: PositiveFloat = 5.0
    max_attempts: PositiveInt = 3
    max_failures: Fraction = 0.2


@dataclass(frozen=True)
class FillPlan:
    """The cells of one candidate.

    Attributes:
        group: of the store that holds its cells.
        keys: string array of the content keys of its cells, sample after sample, each in the order of the queries.
        missing: positions in `keys` that have to be asked; each key is there once.
        attempts: number of failed calls of each missing cell.
        given_up: number of keys that have failed too often to be asked again.
    """

    group: str
    keys: pa.Array
    missing: Ints
    attempts: Ints
    given_up: int


def plan_responses(
    queries: Sequence[Query], pool: Pool, responder: Responder, cells: ResponseCache, policy: FillPolicy
) -> dict[str, FillPlan]:
    """Find out which cells are missing; no candidate is asked.

    The cells that two candidates share, as two names of one model do, are planned for the first of them only.

    Args:
        queries: n queries.
        pool: the candidates.
        responder: gives the identities that content keys are computed from.
        cells: the stored responses and failures.
        policy: number of samples, and how often a failed cell is tried again.

    Returns:
        Candidate → its cells, in the order of the pool.

    Raises:
        ConfigError: several samples of a greedy candidate.
    """
    if policy.samples > 1 and responder.sampling.temperature == 0:
        raise ConfigError(
            expected="a temperature above 0 with several samples",
            found=f"cells.samples={policy.samples} and temperature 0, which gives the same response every time",
            do="set responder.sampling.temperature=0.7 or cells.samples=1",
        )
    plans: dict[str, FillPlan] = {}
    groups: dict[str, pa.Array] = {}
    nothing = np.zeros(0, dtype=np.int64)
    for candidate in pool.candidates:
        identity = responder.identity(candidate)
        group = group_of(identity)
        if group in groups:
            plans[candidate.name] = FillPlan(group, groups[group], nothing, nothing, 0)
            continue
        keys = groups[group] = response_key_array(identity, queries, policy.samples)
        absent = cells.responses.within(group).missing(keys)
        attempts = cells.failure_counts(keys.take(pa.array(absent)), group)
        is_open = attempts < policy.max_attempts
        given_up = int(np.count_nonzero(~is_open))
        plans[candidate.name] = FillPlan(group, keys, absent[is_open], attempts[is_open], given_up)
    return plans


def respond(
    queries: Sequence[Query],
    pool: Pool,
    responder: Responder,
    cells: ResponseCache,
    policy: FillPolicy,
    engine: Engine | None = None,
) -> dict[str, pa.Array]:
    """Ask candidates for the responses that are missing, and store each batch as it is complete.

    Args:
        queries: n queries.
        pool: the candidates.
        responder: makes the calls.
        cells: stores responses and failures.
        policy: number of samples, how often a failed cell is tried again, and how many failures are too many.
        engine: where the calls are made; None makes them in this process.

    Returns:
        Candidate → the content keys of its cells, sample after sample, each in the order of the queries. Cells whose
        call failed stay missing.

    Raises:
        ConfigError: several samples of a greedy candidate.
        ResponderError: the candidates cannot be asked, or too many calls of one failed.
    """
    engine = engine or LocalEngine()
    plans = plan_responses(queries, pool, responder, cells, policy)
    given_up = sum(plan.given_up for plan in plans.values())
    if given_up:
        log.warning("%d calls have failed %d times and are given up; a larger cells.max_attempts tries them again",
                    given_up, policy.max_attempts)  # fmt: skip
    missing = sum(len(plan.missing) for plan in plans.values())
    outcomes = Outcomes()
    if missing:
        log.info("asking for %d of %d responses", missing, sum(len(plan.keys) for plan in plans.values()))
        start = time.monotonic()
        shards = count_shards((len(plan.missing) for plan in plans.values()), engine.shard_cells)
        work = RespondWork(pool, responder, cells, policy)
        job = Job("asking", "respond", work, missing, shards, policy.max_failures)
        outcomes = engine.run(job, _tables(queries, plans, engine.shard_cells))
        log.info("asking: %s, in %.1f s", outcomes.spending.describe(), time.monotonic() - start)
        cells.responses.compact()
        cells.failures.compact()
    _check_missing(plans, cells, policy, outcomes.failures)
    return {name: plan.keys for name, plan in plans.items()}


def _tables(queries: Sequence[Query], plans: Mapping[str, FillPlan], shard_cells: int | None) -> Iterator[pa.Table]:
    """Make tables of missing cells: one of all candidates, or some of one candidate each."""
    if shard_cells is None:
        yield pa.concat_tables(_missing_cells(queries, name, plan, slice(None)) for name, plan in plans.items())
        return
    for name, plan in plans.items():
        for start in range(0, len(plan.missing), shard_cells):
            yield _missing_cells(queries, name, plan, slice(start, start + shard_cells))


def _missing_cells(queries: Sequence[Query], name: str, plan: FillPlan, part: slice) -> pa.Table:
    """Make a table of a part of a candidate's missing cells."""
    positions = plan.missing[part]
    samples, rows = np.divmod(positions, len(queries))
    return pa.table(
        {
            KEY: plan.keys.take(pa.array(positions)),
            "candidate": pa.repeat(name, len(positions)),
            "query_id": pa.array((queries[row].id for row in rows), pa.large_string(), size=len(rows)),
            "query": pa.array((queries[row].text for row in rows), pa.large_string(), size=len(rows)),
            "sample": samples,
            "attempts": plan.attempts[part],
        }
    )


@dataclass(frozen=True)
class RespondWork:
    """Ask for the cells of a table, and store responses in batches.

    Attributes:
        pool: the candidates.
        responder: makes the calls.
        cells: stores responses and failures.
        policy: size of the batches.
    """

    pool: Pool
    responder: Responder
    cells: ResponseCache
    policy: FillPolicy

    def __call__(self, cells: pa.Table, report: Report, shard: str | None) -> None:
        """Ask for the cells that no part of the shard holds yet; see `Work`."""
        names = cells["candidate"].unique().to_pylist()
        candidates = {candidate.name: candidate for candidate in self.pool.candidates if candidate.name in names}
        identities = {name: self.responder.identity(candidate) for name, candidate in candidates.items()}
        stores = [
            store.within(group_of(identity))
            for identity in identities.values()
            for store in (self.cells.responses, self.cells.failures)
        ]
        with shard_of(cells, stores, shard) as missing:
            requests, keys, attempts = [], {}, {}
            for row in missing.to_pylist():
                query = Query(row["query_id"], row["query"])
                requests.append(Request(query, candidates[row["candidate"]], row["sample"]))
                keys[row["candidate"], row["query_id"], row["sample"]] = row[KEY]
                attempts[row[KEY]] = row["attempts"]
            if requests:
                json_of = {name: canonical_json(identity) for name, identity in identities.items()}
                asyncio.run(_Asking(self, keys, attempts, json_of, report, shard).run(requests))


@dataclass
class _Asking:
    """Calls under way, and responses that are not written yet."""

    work: RespondWork
    keys: Mapping[tuple[str, str, int], str]  # (candidate, query id, sample) → key
    attempts: Mapping[str, int]  # key → number of failed calls in earlier runs
    identities: Mapping[str, str]
    report: Report
    shard: str | None
    pending: list[tuple[str, Response]] = field(default_factory=list)

    async def run(self, requests: Sequence[Request]) -> None:
        """Make the calls, and write responses in batches."""
        policy, last_write = self.work.policy, time.monotonic()
        try:
            async with aclosing(self.work.responder.respond(requests)) as responses:
                async for response in responses:
                    key = self.keys[response.candidate, response.query_id, response.sample]
                    self.pending.append((key, response))
                    latest = Outcomes()
                    latest.add_response(response, is_first_attempt=self.attempts[key] == 0)
                    self.report(latest)
                    if len(self.pending) >= policy.batch or time.monotonic() - last_write > policy.seconds:
                        self._store()
                        last_write = time.monotonic()
        finally:  # also after an interruption or an error: finished responses have been paid for
            self._store()

    def _store(self) -> None:
        self.work.cells.add_responses(self.pending, self.identities, self.shard)
        self.pending.clear()


def _check_missing(
    plans: Mapping[str, FillPlan], cells: ResponseCache, policy: FillPolicy, failures: Mapping[str, FailureCounts]
) -> None:
    """Raise ResponderError when too many of a candidate's cells are missing at the end."""
    for name, plan in plans.items():
        missing = failures.get(name, FailureCounts()).failures + plan.given_up
        if missing > policy.max_failures * len(plan.keys):
            reasons = cells.failure_reasons(plan.keys)
            raise too_many_failures(policy.max_failures, name, missing, len(plan.keys), reasons)
