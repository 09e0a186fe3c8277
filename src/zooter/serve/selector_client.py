"""Selectors behind the server: what they ask for are calls to candidates' servers, as the client worded them."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from zooter.collect.responder.client.completion import BadCompletionError, parse
from zooter.data.pool import Pool
from zooter.data.types import Floats, Query, Response, query_id
from zooter.errors import ConfigError
from zooter.selector.ledger import Ledger
from zooter.selector.protocol import Estimator, Needs, SampleRequest, Scorer, Selection, Selector
from zooter.serve.http import chat_request
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.upstream.client import UpstreamClient, UpstreamError
from zooter.serve.upstream.failover import Failover

TOP_LOGPROBS = 10
_NOT_PASSED_ON = ("stream", "stream_options", "n")  # a selector reads whole answers, one by one


@dataclass
class ServedAsk:
    """One conversation, asked by one selector.

    Attributes:
        pool: the candidates that can be asked.
        needs: of the selector; margins are asked for where it needs them.
        answers: (candidate, sample) → the server's own answer.
        faults: servers' answers to requests that are wrong.
    """

    pool: Pool
    upstreams: Mapping[str, UpstreamClient]
    relay: Failover
    chat: ChatRequest
    query: Query
    needs: Needs
    ledger: Ledger = field(default_factory=Ledger)
    answers: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    faults: list[UpstreamError] = field(default_factory=list)
    _taken: Counter[str] = field(default_factory=Counter)

    def price(self, candidate: str) -> float:
        """Not known before the call."""
        return float("nan")

    async def __call__(self, candidate: str, samples: int = 1, text: str | None = None) -> list[Response]:
        """Responses of one candidate."""
        return (await self.together([SampleRequest(candidate, samples, text)]))[0]

    async def together(self, wants: Sequence[SampleRequest]) -> list[list[Response]]:
        """Responses of several candidates, side by side."""
        starts = []
        for want in wants:
            starts.append(self._taken[want.candidate])
            self._taken[want.candidate] += want.samples
        calls = [
            self._call(want, start + i) for want, start in zip(wants, starts, strict=True) for i in range(want.samples)
        ]
        found = iter(await asyncio.gather(*calls))
        parts = [[next(found) for _ in range(want.samples)] for want in wants]
        self.ledger.rounds.append([response for part in parts for response in part])
        return parts

    async def reward(self, responses: Sequence[Response], fee: float = 0.0) -> Floats:
        """Nobody rewards here."""
        raise ConfigError(expected="a selector that needs no rewarder", found="one that does", do="serve another")

    async def truth(self) -> Floats:
        """Nobody knows here."""
        raise ConfigError(expected="a selector that can be served", found="the oracle", do="serve another")

    async def estimate(self, estimator: Estimator) -> Floats:
        """What an estimator expects, off the event loop."""
        return np.asarray((await asyncio.to_thread(estimator.estimate, [self.query]))[0])

    async def score(self, scorer: Scorer, responses: Sequence[Response]) -> Floats:
        """Scores of the answered responses, off the event loop; NaN for failed ones."""
        kept = [i for i, response in enumerate(responses) if response.error is None]
        scores = np.full(len(responses), np.nan)
        if kept:
            scores[kept] = await asyncio.to_thread(scorer.score, [self.query] * len(kept), [responses[i] for i in kept])
        return scores

    async def _call(self, want: SampleRequest, sample: int) -> Response:
        name, start = want.candidate, time.perf_counter()
        upstream = self.upstreams.get(name)
        if upstream is None:
            raise ConfigError(
                expected=f"a candidate among {list(self.upstreams)}", found=repr(name), do="correct the selector"
            )
        nothing = Response(self.query.id, name, sample, "")
        if not upstream.breaker.admit():
            return replace(nothing, error="left alone after failures")
        try:
            answer = await self.relay.ask(upstream, self._request(want.text))
            reply = parse(answer.whole or b"")
        except UpstreamError as error:
            self.faults += [] if error.again else [error]
            return replace(nothing, error=str(error))
        except BadCompletionError as error:
            return replace(nothing, error=f"a reply with {error}")
        self.answers[name, sample] = answer.told
        tokens = reply.input_tokens, reply.output_tokens
        return Response(
            self.query.id, name, sample, reply.text, reply.finish_reason, reply.margin, *tokens,
            upstream.candidate.cost(*tokens), time.perf_counter() - start, first_tokens=reply.first_tokens,
        )  # fmt: skip

    def _request(self, text: str | None) -> ChatRequest:
        """The client's request, whole and for one answer, with first tokens where they are needed."""
        members = {name: value for name, value in json.loads(self.chat.text).items() if name not in _NOT_PASSED_ON}
        if text is not None:
            members["messages"] = [{"role": "user", "content": text}]
        if self.needs.margins or self.needs.first_tokens:
            members |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        return chat_request.parse_chat_request(json.dumps(members).encode())


async def select(
    selector: Selector,
    chat: ChatRequest,
    text: str,
    pool: Pool,
    upstreams: Mapping[str, UpstreamClient],
    relay: Failover,
) -> tuple[Selection, ServedAsk]:
    """What a selector decides for a conversation, and what it asked."""
    able = askable(pool, upstreams)
    ask = ServedAsk(able, upstreams, relay, chat, Query(query_id(text), text), selector.needs)
    return await selector.select(ask.query, ask), ask


def askable(pool: Pool, names: Container[str]) -> Pool:
    """Those of a pool that can be asked."""
    return Pool(tuple(candidate for candidate in pool.candidates if candidate.name in names))


def completion(selection: Selection, ask: ServedAsk) -> dict[str, Any]:
    """The selected answer as its server gave it; one that the selector wrote itself in the same form."""
    response = selection.response
    assert response is not None
    found = ask.answers.get((response.candidate, response.sample))
    if found is not None and parse(json.dumps(found).encode()).text == response.text:
        return found
    message = {"role": "assistant", "content": response.text}
    return {
        "id": f"zooter-{response.query_id}", "object": "chat.completion", "created": int(time.time()),
        "model": response.candidate,
        "choices": [{"index": 0, "message": message, "finish_reason": response.finish_reason or "stop"}],
    }  # fmt: skip


def as_events(told: dict[str, Any]) -> bytes:
    """A whole completion as a stream of one piece, for clients that asked for a stream."""
    choices = []
    for choice in told.get("choices", []):
        delta = dict(choice.get("message") or {})
        if isinstance(delta.get("tool_calls"), list):
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
        choices.append({**{k: v for k, v in choice.items() if k != "message"}, "delta": delta})
    chunk = {**told, "object": "chat.completion.chunk", "choices": choices}
    return f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
