"""Selectors on live candidates, many queries in flight; what they ask for together is asked together."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Generic, TypeVar

import numpy as np

from zooter.collect import progress
from zooter.collect.responder.protocol import KeepsConnections, Request, Responder
from zooter.collect.rewarder.protocol import Rewarder
from zooter.data.cache import ResponseCache, canonical_json, response_keys
from zooter.data.pool import Pool
from zooter.data.types import Floats, Query, Response, query_id
from zooter.errors import ConfigError
from zooter.selector.ledger import Fee, Ledger
from zooter.selector.protocol import Estimator, RecordedSelection, SampleRequest, Scorer, Selector

Item = TypeVar("Item")
Result = TypeVar("Result")
QUIET_TURNS = 3  # turns of the event loop without a new item after which a batch departs


@dataclass
class Batcher(Generic[Item, Result]):
    """Collects items that queries in flight post, and hands them over in one batch as soon as none is added.

    Attributes:
        work: takes the items and their futures, in one order, and settles each future.
    """

    work: Callable[[list[Item], list[asyncio.Future[Result]]], Awaitable[None]]
    waiting: list[tuple[Item, asyncio.Future[Result]]] = field(default_factory=list)
    departures: set[asyncio.Task[None]] = field(default_factory=set)

    async def post(self, item: Item) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.waiting.append((item, future))
        if len(self.waiting) == 1:
            departure = asyncio.create_task(self._depart())
            self.departures.add(departure)
            departure.add_done_callback(self.departures.discard)
        return await future

    async def _depart(self) -> None:
        seen, quiet = 0, 0
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self.waiting) == seen else 0
            seen = len(self.waiting)
        items, futures = zip(*self.waiting, strict=True)
        self.waiting.clear()
        work = asyncio.ensure_future(self.work(list(items), list(futures)))
        await asyncio.wait((work,))
        # Whatever ended it ends the wait of those whom it has not answered.
        fault = asyncio.CancelledError() if work.cancelled() else work.exception()
        for future in futures:
            if fault is not None and not future.done():
                future.set_exception(fault)


@dataclass
class LiveEvaluator:
    """Live candidates in the place of the world.

    Attributes:
        rewarder: gives the rewards that selectors may ask for; None where none may.
        truth: says how good a response really is, for the oracle alone.
        cells: where responses are kept and looked up, as in any run; None asks anew.
        in_flight: queries at a time.
        prices: candidate → US dollars of one call on average, as long as none has been made.
        spent: candidate → US dollars of the calls whose cost is known, and how many.
    """

    pool: Pool
    responder: Responder
    rewarder: Rewarder | None = None
    truth: Rewarder | None = None
    cells: ResponseCache | None = None
    in_flight: int = 256
    prices: Mapping[str, float] = field(default_factory=dict)
    spent: dict[str, tuple[float, int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.in_flight < 1:
            raise ConfigError(expected="in_flight of 1 or more", found=str(self.in_flight), do="correct it")
        self.of_name = {candidate.name: candidate for candidate in self.pool.candidates}
        self.responses: Batcher[Request, Response] = Batcher(self._respond)
        self.boxes: dict[tuple[int, str], Batcher[tuple[Query, Response | None], tuple[Floats, float]]] = {}

    async def run(self, selector: Selector, queries: Sequence[Query]) -> list[RecordedSelection]:
        """One decision per query, in the order of the queries.

        Raises:
            ResponderError: no call can succeed: a wrong key, a model that does not exist.
        """
        if selector.needs.samples > 1 and self.responder.sampling.temperature == 0:
            raise ConfigError(
                expected=f"a temperature above 0 for the {selector.needs.samples} samples of {type(selector).__name__}",
                found="0, which gives the same response every time",
                do="set responder.sampling.temperature=1.0",
            )
        free = asyncio.Semaphore(self.in_flight)

        async def one(query: Query) -> RecordedSelection:
            async with free:
                ask = LiveAsk(self, query)
                decided = RecordedSelection(query, await selector.select(query, ask), ask.ledger)
                advance(1, float(np.nan_to_num(decided.ledger.cost)), decided.ledger.failed)
                return decided

        stay = self.responder.connections() if isinstance(self.responder, KeepsConnections) else nullcontext()
        with progress.progress_bar("selecting", len(queries)) as advance:
            async with stay:
                tasks = [asyncio.create_task(one(query)) for query in queries]
                try:
                    return await asyncio.gather(*tasks)
                finally:
                    for task in tasks:
                        task.cancel()

    async def _respond(self, requests: list[Request], futures: list[asyncio.Future[Response]]) -> None:
        waiting: dict[tuple[str, str, int], list[asyncio.Future[Response]]] = defaultdict(list)
        for request, future in zip(requests, futures, strict=True):
            waiting[request.query.id, request.candidate.name, request.sample].append(future)
        unique = {(r.query.id, r.candidate.name, r.sample): r for r in requests}
        keys = {place: self._key(request) for place, request in unique.items()}
        known = self._known(list(keys.values()))
        landed: list[tuple[str, Response]] = []

        def settle(place: tuple[str, str, int], response: Response) -> None:
            for future in waiting[place]:
                if not future.done():
                    future.set_result(response)

        for place, request in unique.items():
            if (found := known.get(keys[place])) is not None:
                given = request.candidate.name, request.query.id, request.sample
                # Today's prices; the kept cost where they are not known.
                cost = request.candidate.cost(found.input_tokens, found.output_tokens)
                cost = found.cost if cost is None else cost
                settle(place, replace(found, candidate=given[0], query_id=given[1], sample=given[2], cost=cost))
        absent = [request for place, request in unique.items() if keys[place] not in known]
        try:
            if absent:
                async with aclosing(self.responder.respond(absent)) as responses:
                    async for response in responses:
                        place = response.query_id, response.candidate, response.sample
                        landed.append((keys[place], response))
                        settle(place, response)
        finally:  # what was answered is kept, whatever came after it
            if self.cells is not None and landed:
                self.cells.keep(landed, {name: canonical_json(identity) for name, identity in self._identities.items()})

    @cached_property
    def _identities(self) -> Mapping[str, Mapping[str, object]]:
        return {name: self.responder.identity(candidate) for name, candidate in self.of_name.items()}

    def _key(self, request: Request) -> str:
        return response_keys(self._identities[request.candidate.name], [request.query], request.sample)[0]

    def _known(self, keys: Sequence[str]) -> dict[str, Response]:
        if self.cells is None:
            return {}
        return {k: found for k, found in zip(keys, self.cells.answers(keys), strict=True) if found is not None}

    async def judged(
        self, what: str, who: object, work: Callable[[list[Query], list[Response]], Floats], query: Query,
        responses: Sequence[Response],
    ) -> tuple[Floats, float]:  # fmt: skip
        """What a rewarder, scorer or estimator says of all that is posted together, and its seconds for these."""
        box = self.boxes.setdefault((id(who), what), Batcher(partial(_in_a_thread, work)))
        found = await asyncio.gather(*(box.post((query, response)) for response in responses))
        return np.array([value for value, _ in found]), sum(seconds for _, seconds in found)


async def _in_a_thread(
    work: Callable[[list[Query], list[Response]], Floats],
    items: list[tuple[Query, Response]],
    futures: list[asyncio.Future[tuple[Floats, float]]],
) -> None:
    started = time.perf_counter()
    values = await asyncio.to_thread(work, [query for query, _ in items], [response for _, response in items])
    seconds = (time.perf_counter() - started) / len(items)
    for value, future in zip(values, futures, strict=True):
        if not future.done():
            future.set_result((value, seconds))


@dataclass
class LiveAsk:
    """One query, asked by one selector."""

    flight: LiveEvaluator
    query: Query
    ledger: Ledger = field(default_factory=Ledger)
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def pool(self) -> Pool:
        return self.flight.pool

    def price(self, candidate: str) -> float:
        dollars, calls = self.flight.spent.get(candidate, (0.0, 0))
        return dollars / calls if calls else self.flight.prices.get(candidate, float("nan"))

    async def __call__(self, candidate: str, samples: int = 1, text: str | None = None) -> list[Response]:
        return (await self.together([SampleRequest(candidate, samples, text)]))[0]

    async def together(self, wants: Sequence[SampleRequest]) -> list[list[Response]]:
        requests = [self._requests(want) for want in wants]
        posted = [self.flight.responses.post(request) for part in requests for request in part]
        found = iter(await asyncio.gather(*posted))
        parts = [[replace(next(found), query_id=self.query.id) for _ in part] for part in requests]
        self.ledger.rounds.append([response for part in parts for response in part])
        for response in self.ledger.rounds[-1]:
            if response.cost is not None:
                dollars, calls = self.flight.spent.get(response.candidate, (0.0, 0))
                self.flight.spent[response.candidate] = dollars + response.cost, calls + 1
        return parts

    def _requests(self, want: SampleRequest) -> list[Request]:
        if want.candidate not in self.flight.of_name:
            raise ConfigError(
                expected=f"a candidate among {list(self.pool.names)}", found=repr(want.candidate), do="correct the name"
            )
        query = self.query if want.text is None else Query(query_id(want.text), want.text)
        start = self.taken[want.candidate, query.text]
        self.taken[want.candidate, query.text] += want.samples
        candidate = self.flight.of_name[want.candidate]
        return [Request(query, candidate, start + i) for i in range(want.samples)]

    async def reward(self, responses: Sequence[Response], fee: float = 0.0) -> Floats:
        rewarder = self.flight.rewarder
        if rewarder is None:
            raise ConfigError(expected="a rewarder for this selector", found="none", do="add rewarder=…")
        return await self._judge("reward", rewarder, rewarder.reward, responses, "rewarder", fee)

    async def truth(self) -> Floats:
        truth = self.flight.truth
        if truth is None:
            raise ConfigError(expected="a truth for the oracle", found="none", do="leave it out, or add truth=…")
        # Asked beside the account: nobody pays for what is only looked at.
        aside = LiveAsk(self.flight, self.query)
        first = [part[0] for part in await aside.together([SampleRequest(name) for name in self.pool.names])]
        return await aside._judge("truth", truth, truth.reward, first, "truth", 0.0)

    async def score(self, scorer: Scorer, responses: Sequence[Response]) -> Floats:
        return await self._judge("score", scorer, scorer.score, responses, scorer.name, scorer.fee)

    async def _judge(
        self, what: str, who: object, work: Callable[[list[Query], list[Response]], Floats],
        responses: Sequence[Response], name: str, fee: float,
    ) -> Floats:  # fmt: skip
        values = np.full(len(responses), np.nan)
        kept = [i for i, response in enumerate(responses) if response.error is None]
        if kept:
            found, seconds = await self.flight.judged(what, who, work, self.query, [responses[i] for i in kept])
            values[kept] = found
            self.ledger.fees.append(Fee(name, fee * len(kept), seconds))
        return values

    async def estimate(self, estimator: Estimator) -> Floats:
        nothing = Response(self.query.id, "", 0, "")
        values, seconds = await self.flight.judged(
            "estimate", estimator, lambda queries, _: estimator.estimate(queries), self.query, [nothing]
        )
        self.ledger.fees.append(Fee(estimator.name, estimator.fee, seconds))
        return np.asarray(values[0])
