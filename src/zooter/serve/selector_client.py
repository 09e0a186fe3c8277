"""Run selectors behind the server: their calls go to candidates' servers with the client's own messages."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from zooter.collect.responder.client.completion import BadCompletionError, parse
from zooter.data.pool import Pool
from zooter.data.types import Floats, Query, Response, query_id
from zooter.errors import ConfigError
from zooter.selector.ledger import Ledger
from zooter.selector.protocol import Estimator, Needs, SampleRequest, Scorer, Selection, Selector
from zooter.serve.http import chat_request
from zooter.serve.http.body_parser import BodyParser
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.metrics import Metrics
from zooter.serve.upstream.client import UpstreamClient
from zooter.serve.upstream.errors import UpstreamError
from zooter.serve.upstream.failover import NO_HEADERS, Failover
from zooter.serve.upstream.replica import least_loaded

TOP_LOGPROBS = 10
_DROPPED_MEMBERS = ("stream", "stream_options", "n")  # a selector reads whole responses, one by one


@dataclass
class ServedAsk:
    """Ask candidates over HTTP for one selector and one conversation; see `zooter.selector.protocol.Ask`.

    Attributes:
        pool: candidates that can be asked.
        upstreams: candidate → client of its server, for candidates that the request allows and that can answer it.
        failover: sends requests and records their results.
        chat: the client's request.
        query: the query that the selector decides by.
        needs: needs of the selector; log-probabilities are asked for if it needs margins or first tokens.
        headers: headers of the client that are passed on.
        parser: makes the candidates' requests of the client's.
        ledger: calls made so far.
        completions: (candidate, sample) → the server's completion.
        request_errors: servers' errors for requests that are wrong.
    """

    pool: Pool
    upstreams: Mapping[str, UpstreamClient]
    failover: Failover
    chat: ChatRequest
    query: Query
    needs: Needs
    headers: Mapping[str, str] = field(default_factory=dict)
    parser: BodyParser = field(default_factory=BodyParser)
    ledger: Ledger = field(default_factory=Ledger)
    completions: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    request_errors: list[UpstreamError] = field(default_factory=list)
    _sample_counts: Counter[str] = field(default_factory=Counter)

    def price(self, candidate: str) -> float:
        """Return NaN: the price is not known before the call."""
        return float("nan")

    async def __call__(self, candidate: str, samples: int = 1, text: str | None = None) -> list[Response]:
        """Ask one candidate.

        Args:
            candidate: name of the candidate.
            samples: number of responses.
            text: user's text in place of the client's messages; None sends the client's.
        """
        return (await self.ask_many([SampleRequest(candidate, samples, text)]))[0]

    async def ask_many(self, requests: Sequence[SampleRequest]) -> list[list[Response]]:
        """Make several requests side by side in one round; return the responses of each."""
        starts = []
        for request in requests:
            starts.append(self._sample_counts[request.candidate])
            self._sample_counts[request.candidate] += request.samples
        calls = [
            self._call(request, start + i)
            for request, start in zip(requests, starts, strict=True)
            for i in range(request.samples)
        ]
        results = iter(await asyncio.gather(*calls))
        responses = [[next(results) for _ in range(request.samples)] for request in requests]
        self.ledger.rounds.append([response for samples in responses for response in samples])
        return responses

    async def reward(self, responses: Sequence[Response], fee: float = 0.0) -> Floats:
        """Refuse: a server has no rewarder.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(expected="a selector that needs no rewarder", found="one that does", do="serve another")

    async def truth(self) -> Floats:
        """Refuse: true quality is not known in production.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(expected="a selector that can be served", found="the oracle", do="serve another")

    async def estimate(self, estimator: Estimator) -> Floats:
        """Return the estimator's estimates (k,) for the query, computed off the event loop."""
        return np.asarray((await asyncio.to_thread(estimator.estimate, [self.query]))[0])

    async def score(self, scorer: Scorer, responses: Sequence[Response]) -> Floats:
        """Return the scores (k,) of responses, computed off the event loop; NaN for failed ones."""
        answered = [i for i, response in enumerate(responses) if response.error is None]
        scores = np.full(len(responses), np.nan)
        if answered:
            queries = [self.query] * len(answered)
            scores[answered] = await asyncio.to_thread(scorer.score, queries, [responses[i] for i in answered])
        return scores

    def record_tokens(self, metrics: Metrics) -> float:
        """Record the tokens of all calls so far; return their cost in dollars, as far as it is known.

        Args:
            metrics: of the server.
        """
        responses = [response for calls in self.ledger.rounds for response in calls if response.error is None]
        for response in responses:
            counts = response.input_tokens, response.output_tokens
            tokens = None if None in counts else counts
            metrics.record_tokens(self.upstreams[response.candidate].candidate, tokens)  # type: ignore[arg-type]
        return sum(response.cost or 0.0 for response in responses)

    async def _call(self, request: SampleRequest, sample: int) -> Response:
        name, start = request.candidate, time.perf_counter()
        failed = Response(self.query.id, name, sample, "")
        upstream = self.upstreams.get(name)
        if upstream is None:
            return replace(failed, error="not allowed or not able to answer this request")
        logprobs = self.needs.margins or self.needs.first_tokens
        make = partial(_candidate_request, text=request.text, logprobs=logprobs)
        chat = await self.parser.run(make, self.chat.body)
        replica = least_loaded(upstream.replicas)
        if replica is None:
            return replace(failed, error="its circuit breaker is open")
        try:
            upstream_response = await self.failover.send(upstream, replica.admit(), chat, self.headers)
            completion = parse(upstream_response.body or b"")
        except UpstreamError as error:
            self.request_errors += [] if error.retryable else [error]
            return replace(failed, error=str(error))
        except BadCompletionError as error:
            return replace(failed, error=f"a reply with {error}")
        self.completions[name, sample] = upstream_response.completion
        tokens = completion.input_tokens, completion.output_tokens
        return Response(
            self.query.id, name, sample, completion.text, completion.finish_reason, completion.margin, *tokens,
            upstream.candidate.cost(*tokens), time.perf_counter() - start, first_tokens=completion.first_tokens,
        )  # fmt: skip


def _candidate_request(body: bytes, text: str | None, logprobs: bool) -> ChatRequest:
    """Return a client's request for one whole response, with a selector's text and log-probabilities if wanted."""
    members = {name: value for name, value in json.loads(body).items() if name not in _DROPPED_MEMBERS}
    if text is not None:
        members["messages"] = [{"role": "user", "content": text}]
    if logprobs:
        members |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
    return chat_request.parse_chat_request(json.dumps(members).encode())


async def select(
    selector: Selector,
    chat: ChatRequest,
    text: str,
    pool: Pool,
    upstreams: Mapping[str, UpstreamClient],
    failover: Failover,
    headers: Mapping[str, str] = NO_HEADERS,
    parser: BodyParser | None = None,
) -> tuple[Selection, ServedAsk]:
    """Run a selector for a conversation.

    Args:
        selector: the selector.
        chat: the client's request.
        text: text of the query that the selector decides by.
        pool: candidates of the export.
        upstreams: candidate → client of its server, for candidates that the request allows and that can answer it.
        failover: sends requests and records their results.
        headers: headers of the client that are passed on.
        parser: makes the candidates' requests of the client's; None makes one.

    Returns:
        The selection, and the `ServedAsk` with the calls that were made.
    """
    query, parser = Query(query_id(text), text), parser or BodyParser()
    ask = ServedAsk(pool, upstreams, failover, chat, query, selector.needs, headers, parser)
    return await selector.select(ask.query, ask), ask


def reachable_pool(pool: Pool, names: Container[str]) -> Pool:
    """Return the pool of the candidates whose names are in `names`.

    Args:
        pool: of the export.
        names: candidates with a server.
    """
    return Pool(tuple(candidate for candidate in pool.candidates if candidate.name in names))


def selected_completion(selection: Selection, ask: ServedAsk) -> dict[str, Any]:
    """Return the selected response as its server's completion; a text of the selector's own in the same form.

    Args:
        selection: with a response.
        ask: holds the servers' completions.
    """
    response = selection.response
    assert response is not None
    completion = ask.completions.get((response.candidate, response.sample))
    if completion is not None and parse(json.dumps(completion).encode()).text == response.text:
        return completion
    message = {"role": "assistant", "content": response.text}
    return {
        "id": f"zooter-{response.query_id}", "object": "chat.completion", "created": int(time.time()),
        "model": response.candidate,
        "choices": [{"index": 0, "message": message, "finish_reason": response.finish_reason or "stop"}],
    }  # fmt: skip


def completion_events(completion: dict[str, Any]) -> bytes:
    """Encode a whole completion as a stream of one chunk, for clients that asked for a stream.

    Args:
        completion: in OpenAI's form.
    """
    choices = []
    for choice in completion.get("choices", []):
        delta = dict(choice.get("message") or {})
        if isinstance(delta.get("tool_calls"), list):
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
        choices.append({**{k: v for k, v in choice.items() if k != "message"}, "delta": delta})
    chunk = {**completion, "object": "chat.completion.chunk", "choices": choices}
    return f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
