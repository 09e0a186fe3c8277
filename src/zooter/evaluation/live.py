"""Run selectors on live candidates, many queries at a time, with batching and caching of their requests."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from zooter.collect import progress
from zooter.collect.responder.protocol import KeepsConnections, Request, Responder
from zooter.collect.rewarder.protocol import Rewarder
from zooter.data.cache import ResponseCache
from zooter.data.content_keys import canonical_json, response_keys
from zooter.data.pool import Pool
from zooter.data.types import Floats, Query, Response, query_id
from zooter.errors import ConfigError
from zooter.evaluation.batcher import Batcher, JudgeFunction, judge_batcher
from zooter.selector.ledger import Fee, Ledger
from zooter.selector.protocol import Estimator, RecordedSelection, SampleRequest, Scorer, Selector

RequestId = tuple[str, str, int]  # query id, candidate, sample


@dataclass
class LiveEvaluator:
    """Answer selectors from live candidates.

    Attributes:
        pool: the candidates, in column order.
        responder: asks them.
        rewarder: gives the rewards that selectors may ask for; None refuses them.
        truth: gives the quality of responses to the oracle; None refuses it.
        cache: stores responses and answers repeated requests; None asks every time.
        in_flight: number of queries that are worked on at a time, 1 or more.
        prices: candidate → mean US dollars per call, used until a call of known cost was made.
        spent: candidate → US dollars of all calls of known cost, and their number.

    Raises:
        ConfigError: `in_flight` is below 1.
    """

    pool: Pool
    responder: Responder
    rewarder: Rewarder | None = None
    truth: Rewarder | None = None
    cache: ResponseCache | None = None
    in_flight: int = 256
    prices: Mapping[str, float] = field(default_factory=dict)
    spent: dict[str, tuple[float, int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.in_flight < 1:
            raise ConfigError(expected="in_flight of 1 or more", found=str(self.in_flight), do="correct it")
        self.candidates_by_name = {candidate.name: candidate for candidate in self.pool.candidates}
        self.requests: Batcher[Request, Response] = Batcher(self._respond)
        self.judges: dict[tuple[int, str], Batcher[tuple[Query, Response], tuple[Floats, float]]] = {}

    async def run(self, selector: Selector, queries: Sequence[Query]) -> list[RecordedSelection]:
        """Select a response for each query.

        Returns:
            One selection per query, in the order of the queries.

        Raises:
            ConfigError: the selector needs several samples and the temperature is 0.
            ResponderError: no call can succeed, for example because of a wrong key or a model that does not exist.
        """
        if selector.needs.samples > 1 and self.responder.sampling.temperature == 0:
            raise ConfigError(
                expected=f"a temperature above 0 for the {selector.needs.samples} samples of {type(selector).__name__}",
                found="0, which gives the same response every time",
                do="set responder.sampling.temperature=1.0",
            )
        semaphore = asyncio.Semaphore(self.in_flight)

        async def select(query: Query) -> RecordedSelection:
            """Select a response for a query once fewer than `in_flight` others are in flight."""
            async with semaphore:
                ask = LiveAsk(self, query)
                recorded = RecordedSelection(query, await selector.select(query, ask), ask.ledger)
                advance(1, float(np.nan_to_num(recorded.ledger.cost)), recorded.ledger.failed)
                return recorded

        connections = self.responder.connections() if isinstance(self.responder, KeepsConnections) else nullcontext()
        with progress.progress_bar("selecting", len(queries)) as advance:
            async with connections:
                tasks = [asyncio.create_task(select(query)) for query in queries]
                try:
                    return await asyncio.gather(*tasks)
                finally:
                    for task in tasks:
                        task.cancel()

    async def judge(
        self, what: str, judge: object, function: JudgeFunction, query: Query, responses: Sequence[Response]
    ) -> tuple[Floats, float]:
        """Judge responses together with those of other queries in flight.

        Args:
            what: kind of judgement; batches are separate for each kind and judge.
            judge: the rewarder, scorer or estimator.
            function: its method: k queries and their k responses → k values.
            query: the query of all responses.
            responses: k responses.

        Returns:
            The k values, and the seconds that these took.
        """
        batcher = self.judges.setdefault((id(judge), what), judge_batcher(function))
        results = await asyncio.gather(*(batcher.post((query, response)) for response in responses))
        return np.array([value for value, _ in results]), sum(seconds for _, seconds in results)

    async def _respond(self, requests: list[Request], futures: list[asyncio.Future[Response]]) -> None:
        """Settle a batch of requests from the cache, then from the candidates; equal requests are asked once."""
        waiting: dict[RequestId, list[asyncio.Future[Response]]] = defaultdict(list)
        unique: dict[RequestId, Request] = {}
        for request, future in zip(requests, futures, strict=True):
            request_id = request.query.id, request.candidate.name, request.sample
            unique[request_id] = request
            waiting[request_id].append(future)

        def settle(request_id: RequestId, response: Response) -> None:
            """Give a response to all that wait for its request."""
            for future in waiting[request_id]:
                if not future.done():
                    future.set_result(response)

        keys = {request_id: self._key(request) for request_id, request in unique.items()}
        cached = self._load_cached(list(keys.values()))
        for request_id, request in unique.items():
            if (response := cached.get(keys[request_id])) is not None:
                settle(request_id, _as_answer(response, request))
        absent = [request for request_id, request in unique.items() if keys[request_id] not in cached]
        finished: list[tuple[str, Response]] = []
        try:
            if absent:
                async with aclosing(self.responder.respond(absent)) as responses:
                    async for response in responses:
                        request_id = response.query_id, response.candidate, response.sample
                        finished.append((keys[request_id], response))
                        settle(request_id, response)
        finally:  # store what was answered also when a later request fails
            if self.cache is not None and finished:
                identities = {name: canonical_json(identity) for name, identity in self._identities.items()}
                self.cache.add_responses(finished, identities)

    @cached_property
    def _identities(self) -> Mapping[str, Mapping[str, object]]:
        return {name: self.responder.identity(candidate) for name, candidate in self.candidates_by_name.items()}

    def _key(self, request: Request) -> str:
        return response_keys(self._identities[request.candidate.name], [request.query], request.sample)[0]

    def _load_cached(self, keys: Sequence[str]) -> dict[str, Response]:
        if self.cache is None:
            return {}
        responses = zip(keys, self.cache.load_responses(keys), strict=True)
        return {key: response for key, response in responses if response is not None}


def _as_answer(response: Response, request: Request) -> Response:
    """Address a cached response to this request, at today's prices or, where those are unknown, at its stored cost."""
    candidate = request.candidate
    cost = candidate.cost(response.input_tokens, response.output_tokens)
    return replace(
        response,
        candidate=candidate.name,
        query_id=request.query.id,
        sample=request.sample,
        cost=response.cost if cost is None else cost,
    )


@dataclass
class LiveAsk:
    """Implement `Ask` for one selector on one query.

    Attributes:
        evaluator: what all queries share: candidates, batches and prices.
        query: the query.
        ledger: the calls and fees so far.
        taken: (candidate, text) → number of samples that were asked for.
    """

    evaluator: LiveEvaluator
    query: Query
    ledger: Ledger = field(default_factory=Ledger)
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def pool(self) -> Pool:
        """Return the candidates, in column order."""
        return self.evaluator.pool

    def price(self, candidate: str) -> float:
        """Return the mean US dollars per call so far; before any call the price that was given, or NaN."""
        dollars, calls = self.evaluator.spent.get(candidate, (0.0, 0))
        return dollars / calls if calls else self.evaluator.prices.get(candidate, float("nan"))

    async def __call__(self, candidate: str, samples: int = 1, text: str | None = None) -> list[Response]:
        """Ask a candidate for samples, as one round.

        Args:
            candidate: name of the candidate.
            samples: how many; failed calls come back with `error`.
            text: message to send; None sends the query's text.

        Raises:
            ConfigError: the candidate is not in the pool.
        """
        return (await self.ask_many([SampleRequest(candidate, samples, text)]))[0]

    async def ask_many(self, requests: Sequence[SampleRequest]) -> list[list[Response]]:
        """Ask for the samples of several requests at the same time, as one round.

        Raises:
            ConfigError: a candidate is not in the pool.
        """
        calls = [self._calls(request) for request in requests]
        posted = [self.evaluator.requests.post(call) for part in calls for call in part]
        responses = iter(await asyncio.gather(*posted))
        parts = [[replace(next(responses), query_id=self.query.id) for _ in part] for part in calls]
        self.ledger.rounds.append([response for part in parts for response in part])
        for response in self.ledger.rounds[-1]:
            if response.cost is not None:
                dollars, count = self.evaluator.spent.get(response.candidate, (0.0, 0))
                self.evaluator.spent[response.candidate] = dollars + response.cost, count + 1
        return parts

    def _calls(self, request: SampleRequest) -> list[Request]:
        candidate = self.evaluator.candidates_by_name.get(request.candidate)
        if candidate is None:
            raise ConfigError(
                expected=f"a candidate among {list(self.pool.names)}",
                found=repr(request.candidate),
                do="correct the name",
            )
        query = self.query if request.text is None else Query(query_id(request.text), request.text)
        start = self.taken[candidate.name, query.text]
        self.taken[candidate.name, query.text] += request.samples
        return [Request(query, candidate, start + i) for i in range(request.samples)]

    async def reward(self, responses: Sequence[Response], fee: float = 0.0) -> Floats:
        """Return (k,) rewards, NaN for failed responses, and charge `fee` US dollars per response without error.

        Raises:
            ConfigError: there is no rewarder.
        """
        rewarder = self.evaluator.rewarder
        if rewarder is None:
            raise ConfigError(expected="a rewarder for this selector", found="none", do="add rewarder=…")
        return await self._judge("reward", rewarder, rewarder.reward, responses, "rewarder", fee)

    async def truth(self) -> Floats:
        """Return (m,) qualities of the candidates' first responses; NaN for failed ones.

        Raises:
            ConfigError: there is no truth.
        """
        truth = self.evaluator.truth
        if truth is None:
            raise ConfigError(expected="a truth for the oracle", found="none", do="leave it out, or add truth=…")
        # Not charged to the ledger: measurement only.
        uncharged = LiveAsk(self.evaluator, self.query)
        parts = await uncharged.ask_many([SampleRequest(name) for name in self.pool.names])
        return await uncharged._judge("truth", truth, truth.reward, [part[0] for part in parts], "truth", 0.0)

    async def score(self, scorer: Scorer, responses: Sequence[Response]) -> Floats:
        """Return (k,) scores, NaN for failed responses, and charge the scorer's fee per scored response."""
        return await self._judge("score", scorer, scorer.score, responses, scorer.name, scorer.fee)

    async def _judge(
        self, what: str, judge: object, function: JudgeFunction, responses: Sequence[Response], name: str, fee: float
    ) -> Floats:
        values = np.full(len(responses), np.nan)
        answered = [i for i, response in enumerate(responses) if response.error is None]
        if answered:
            values[answered], seconds = await self.evaluator.judge(
                what, judge, function, self.query, [responses[i] for i in answered]
            )
            self.ledger.fees.append(Fee(name, fee * len(answered), seconds))
        return values

    async def estimate(self, estimator: Estimator) -> Floats:
        """Return (k,) the estimator's row for this query, and charge its fee."""
        no_response = Response(self.query.id, "", 0, "")
        values, seconds = await self.evaluator.judge(
            "estimate", estimator, lambda queries, _: estimator.estimate(queries), self.query, [no_response]
        )
        self.ledger.fees.append(Fee(estimator.name, estimator.fee, seconds))
        return np.asarray(values[0])
