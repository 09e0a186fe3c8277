"""The respond stage: asks candidates for the responses that are not on disk yet."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from zooter.collect import progress
from zooter.collect.responder.protocol import Request, Responder
from zooter.data.cache import ResponseCache, canonical_json, response_keys
from zooter.data.pool import Pool
from zooter.data.types import Query, Response
from zooter.errors import ConfigError, ResponderError

log = logging.getLogger(__name__)

MIN_CALLS_TO_JUDGE = 50  # first tries of a candidate from which the share of failures says something


@dataclass(frozen=True)
class FillPolicy:
    """How cells are filled.

    Attributes:
        samples: responses per query and candidate.
        batch: cells that land together; what a killed run has to ask again, at most.
        seconds: after which a smaller batch lands too.
        max_attempts: runs in which a failed call is tried before it is given up.
        max_failures: share of a candidate's cells that may fail; more of them stop the run.
    """

    samples: int = 1
    batch: int = 256
    seconds: float = 5.0
    max_attempts: int = 3
    max_failures: float = 0.2

    def __post_init__(self) -> None:
        for name in ("samples", "batch", "max_attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    expected=f"cells.{name} of 1 or more", found=str(getattr(self, name)), do="correct it"
                )
        if not 0.0 <= self.max_failures <= 1.0:
            raise ConfigError(
                expected="cells.max_failures between 0 and 1", found=str(self.max_failures), do="set 0.2, say"
            )


@dataclass(frozen=True)
class FillPlan:
    """What one candidate has to answer.

    Attributes:
        keys: of its cells, sample after sample, each in the order of the queries.
        missing: positions in `keys` that have to be asked, each key once.
        attempts: key → how often it has failed; empty where it never did.
        given_up: how many keys have failed too often to be asked again.
    """

    keys: list[str]
    missing: list[int]
    attempts: Counter[str]
    given_up: int


@dataclass
class _FailureStats:
    """What a candidate has done so far: calls, failures, both of first tries, and the failures' reasons."""

    done: int = 0
    failed: int = 0
    first: int = 0
    first_failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def plan_responses(
    queries: Sequence[Query], pool: Pool, responder: Responder, cells: ResponseCache, rules: FillPolicy
) -> dict[str, FillPlan]:
    """Candidate → its cells, and which of them are missing; asks nothing.

    Raises:
        ConfigError: several samples of a greedy candidate.
    """
    if rules.samples > 1 and responder.sampling.temperature == 0:
        raise ConfigError(
            expected="a temperature above 0 with several samples",
            found=f"cells.samples={rules.samples} and temperature 0, which gives the same response every time",
            do="set responder.sampling.temperature=0.7 or cells.samples=1",
        )
    planned: set[str] = set()
    found = {}
    for candidate in pool.candidates:
        identity = responder.identity(candidate)
        keys = [key for sample in range(rules.samples) for key in response_keys(identity, queries, sample)]
        absent = [i for i in cells.responses.missing(keys).tolist() if keys[i] not in planned]
        attempts = cells.attempts([keys[i] for i in absent])
        missing = [i for i in absent if attempts[keys[i]] < rules.max_attempts]
        planned |= {keys[i] for i in missing}
        found[candidate.name] = FillPlan(keys, missing, attempts, len(absent) - len(missing))
    return found


def respond(
    queries: Sequence[Query], pool: Pool, responder: Responder, cells: ResponseCache, rules: FillPolicy
) -> dict[str, list[str]]:
    """Fill the missing responses; candidate → the keys of its cells, some of which may have failed.

    Raises:
        ResponderError: the candidates cannot be asked, or too many calls of one failed.
    """
    found = plan_responses(queries, pool, responder, cells, rules)
    stage = _Stage(queries, pool, responder, cells, rules, found)
    requests = stage.requests()
    given_up = sum(column.given_up for column in found.values())
    if given_up:
        log.warning("%d calls have failed %d times and are given up; a larger cells.max_attempts tries them again",
                    given_up, rules.max_attempts)  # fmt: skip
    if requests:
        log.info("asking for %d of %d responses", len(requests), sum(len(column.keys) for column in found.values()))
        asyncio.run(stage.run(requests))
        cells.responses.compact()
        cells.failures.compact()
    stage.refuse_if_too_many_are_missing()
    return {name: column.keys for name, column in found.items()}


@dataclass
class _Stage:
    queries: Sequence[Query]
    pool: Pool
    responder: Responder
    cells: ResponseCache
    rules: FillPolicy
    found: Mapping[str, FillPlan]
    key_of: dict[tuple[str, str, int], str] = field(default_factory=dict)
    tallies: dict[str, _FailureStats] = field(default_factory=dict)
    waiting: list[tuple[str, Response]] = field(default_factory=list)

    def requests(self) -> list[Request]:
        """What has to be asked, candidate after candidate."""
        requests = []
        for candidate in self.pool.candidates:
            column = self.found[candidate.name]
            self.tallies[candidate.name] = _FailureStats()
            for i in column.missing:
                sample, row = divmod(i, len(self.queries))
                requests.append(Request(self.queries[row], candidate, sample))
                self.key_of[candidate.name, self.queries[row].id, sample] = column.keys[i]
        return requests

    async def run(self, requests: Sequence[Request]) -> None:
        identities = {
            candidate.name: canonical_json(self.responder.identity(candidate)) for candidate in self.pool.candidates
        }
        landed = started = time.monotonic()
        dollars = 0.0
        try:
            with progress.progress_bar("asking", len(requests)) as advance:
                async with aclosing(self.responder.respond(requests)) as responses:
                    async for response in responses:
                        dollars += response.cost or 0.0
                        advance(1, response.cost or 0.0, response.error is not None)
                        self._take(response)
                        if len(self.waiting) >= self.rules.batch or time.monotonic() - landed > self.rules.seconds:
                            self._land(identities)
                            landed = time.monotonic()
        finally:  # also what came before an interruption or an error is kept: it has been paid for
            self._land(identities)
        failed = sum(tally.failed for tally in self.tallies.values())
        log.info("%d responses in %.1f s, %d failed, $%.4f",
                 len(requests) - failed, time.monotonic() - started, failed, dollars)  # fmt: skip

    def _take(self, response: Response) -> None:
        key = self.key_of[response.candidate, response.query_id, response.sample]
        self.waiting.append((key, response))
        tally, failed = self.tallies[response.candidate], response.error is not None
        tally.done += 1
        tally.failed += failed
        if response.error is not None:
            tally.reasons[response.error] += 1
        if self.found[response.candidate].attempts[key] == 0:
            tally.first += 1
            tally.first_failed += failed
            # A call that has failed before is likely to fail again: only first tries say whether to go on.
            if tally.first >= MIN_CALLS_TO_JUDGE and tally.first_failed > self.rules.max_failures * tally.first:
                raise self._too_many(response.candidate, tally.first_failed, tally.first, tally.reasons)

    def _land(self, identities: Mapping[str, str]) -> None:
        self.cells.keep(self.waiting, identities)
        self.waiting.clear()

    def refuse_if_too_many_are_missing(self) -> None:
        """At the end, against all cells of each candidate."""
        for name, column in self.found.items():
            missing = self.tallies[name].failed + column.given_up
            if missing > self.rules.max_failures * len(column.keys):
                raise self._too_many(name, missing, len(column.keys), self.cells.reasons(column.keys))

    def _too_many(self, name: str, failed: int, of: int, reasons: Counter[str]) -> ResponderError:
        reason, times = reasons.most_common(1)[0]
        return ResponderError(
            expected=f"at most {self.rules.max_failures:.0%} of the calls to {name!r} to fail",
            found=f"{failed} of {of} failed, most often ({times}×) with: {reason}",
            do="correct the cause and run again: what was answered is kept; "
            "or allow more with cells.max_failures=…, or try given-up calls again with cells.max_attempts=…",
        )
