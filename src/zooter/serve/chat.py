"""A chat request from its first byte to its last: decide, ask, pass the answer on, and count what it took."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zooter.serve import selector_client
from zooter.serve.decision import DecisionPolicy, RoutingDecision, query_texts
from zooter.serve.decision_log import DecisionLog
from zooter.serve.http import auth, chat_request, sse
from zooter.serve.http.auth import Receive, Scope, Send
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.http.errors import ApiError
from zooter.serve.http.protocol import ABORT
from zooter.serve.metrics import Metrics
from zooter.serve.response import ResponseSender, SlowClientError
from zooter.serve.service import Service
from zooter.serve.settings import ServeSettings
from zooter.serve.upstream.client import UpstreamClient, UpstreamError, UpstreamResponse
from zooter.serve.upstream.failover import Failover

ROUTED = "zooter"
Headers = Mapping[bytes, bytes]


@dataclass(frozen=True)
class ChatHandler:
    """Answers `/v1/chat/completions`."""

    settings: ServeSettings
    account: Metrics
    chooser: DecisionPolicy
    relay: Failover
    decisions: DecisionLog | None

    async def answer(self, scope: Scope, receive: Receive, send: Send, service: Service) -> None:
        """Answer one request; a client that leaves ends the call to its candidate.

        Raises:
            Refusal: nothing has been sent yet.
        """
        headers = dict(scope["headers"])
        chat = chat_request.parse_chat_request(await auth.read_body(headers, receive, self.settings))
        reply = ResponseSender(send, self.settings.slow_client)
        exchange = _Exchange(self, scope["zooter"], reply, service, chat, headers)
        work = asyncio.ensure_future(exchange.run())
        gone = asyncio.ensure_future(auth.wait_for_disconnect(receive))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if work.done() and isinstance(work.exception(), SlowClientError):
                scope["extensions"][ABORT]()
                await gone
        finally:
            left = not work.done() or isinstance(work.exception(), SlowClientError)
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if left:
            self.account.gone.inc()
            scope["zooter"]["client"] = "gone"
        else:
            work.result()


@dataclass
class _Exchange:
    """One request and its answer."""

    chat_: ChatHandler
    told: dict[str, Any]
    reply: ResponseSender
    service: Service
    chat: ChatRequest
    headers: Headers

    async def run(self) -> None:
        """Decide, ask and pass on."""
        account, told = self.chat_.account, self.told
        told["model"] = self.chat.model[:100]
        if self.chat.model.startswith(f"{ROUTED}:"):
            await self._select(self.chat.model.removeprefix(f"{ROUTED}:"))
            return
        decision = await self._decide()
        told |= {"why": decision.why, "decision_ms": round(decision.seconds * 1e3, 2), "fault": decision.fault}
        if not decision.order or not self.service.upstreams:
            raise ApiError(503, "no candidate has a url: give a pool file", "server_error", "no_candidates")
        start = time.perf_counter()
        try:
            upstream, answer = await self.chat_.relay.begin(decision.order, self.service.upstreams, self.chat)
        except UpstreamError as error:
            await self.reply.whole(error.status or 502, error.headers, error.body, decision, decision.order[0])
            return
        name = upstream.candidate.name
        decision = self.chat_.chooser.answered(decision, name)
        first_byte = round((time.perf_counter() - start) * 1e3, 2)
        told |= {"candidate": name, "why": decision.why, "first_byte_ms": first_byte}
        account.choices.labels(name, decision.why).inc()
        try:
            seen = await self._pass_on(upstream, answer, decision)
        finally:
            answer.close()
        seconds = time.perf_counter() - start
        account.ended.labels(name).observe(seconds)
        account.used(upstream.candidate, seen.tokens)
        if seen.tokens:
            told["input_tokens"], told["output_tokens"] = seen.tokens
        self._note(upstream, decision, seen, seconds)

    async def _select(self, name: str) -> None:
        """Answer with what a selector decides."""
        service, settings = self.service, self.chat_.settings
        selector = service.selectors.get(name)
        if selector is None:
            raise self._unknown()
        query = "\n".join(query_texts(self.chat.texts, settings.reads))
        if not query:
            raise chat_request.bad_request("a user's text to select by", "messages")
        start = time.perf_counter()
        try:
            async with asyncio.timeout(settings.total):
                selection, ask = await selector_client.select(
                    selector, self.chat, query, service.pool, service.upstreams, self.chat_.relay
                )
        except TimeoutError as error:
            words = f"expected the selector's answer within {settings.total:g} s"
            raise ApiError(504, words, "server_error", "timeout") from error
        seconds = time.perf_counter() - start
        calls = ask.ledger.calls
        self.chat_.account.escalations.labels(name).inc(max(0, len(calls) - 1))
        self.told |= {"why": selection.why, "calls": dict(calls), "select_ms": round(seconds * 1e3, 2)}
        self._used(ask)
        if selection.response is None:
            await self._nothing_selected(ask, name)
            return
        chosen = selection.response.candidate
        self.told["candidate"] = chosen
        self.chat_.account.choices.labels(chosen, name).inc()
        told = selector_client.completion(selection, ask)
        decision = RoutingDecision((chosen,), f"{name}: {selection.why}", seconds)
        body = selector_client.as_events(told) if self.chat.stream else json.dumps(told).encode()
        kind = b"text/event-stream" if self.chat.stream else b"application/json"
        await self.reply.whole(200, [(b"content-type", kind)], body, decision, chosen)
        if chosen in service.upstreams:
            seen = sse.ResponseObserver(keep=True)
            seen.whole(told)
            self._note(service.upstreams[chosen], decision, seen, seconds)

    def _used(self, ask: selector_client.ServedAsk) -> None:
        """Count the tokens of all that a selector has asked for."""
        for response in (one for part in ask.ledger.rounds for one in part if one.error is None):
            tokens = response.input_tokens, response.output_tokens
            known = None if None in tokens else tokens
            candidate = self.service.upstreams[response.candidate].candidate
            self.chat_.account.used(candidate, known)  # type: ignore[arg-type]

    async def _nothing_selected(self, ask: selector_client.ServedAsk, name: str) -> None:
        """Tell why no candidate answered a selector: in a server's words, if it is the request that is wrong."""
        if ask.faults:
            fault = ask.faults[-1]
            await self.reply.whole(fault.status or 502, fault.headers, fault.body, RoutingDecision((), name), name)
            return
        failed = "; ".join(f"{one.candidate}: {one.error}" for part in ask.ledger.rounds for one in part)
        raise ApiError(502, f"no candidate answered ({failed})", "server_error", "no_candidate_answered", retry_after=1)

    def _unknown(self) -> ApiError:
        names = [ROUTED, *(f"{ROUTED}:{name}" for name in self.service.selectors), *self.service.upstreams]
        return ApiError(404, f"expected as model one of {names}", "invalid_request_error", "model_not_found", "model")

    async def _decide(self) -> RoutingDecision:
        chat, service = self.chat, self.service
        if chat.model == ROUTED:
            client = self.told["client_key"] + self.headers.get(b"x-zooter-conversation", b"")
            return await self.chat_.chooser.choose(chat, service, client)
        if chat.model in service.upstreams:
            return RoutingDecision((chat.model,), "asked for")
        raise self._unknown()

    async def _pass_on(
        self, upstream: UpstreamClient, answer: UpstreamResponse, decision: RoutingDecision
    ) -> sse.ResponseObserver:
        seen = sse.ResponseObserver(keep=self.chat_.decisions is not None and self.chat_.settings.decisions_responses)
        name = upstream.candidate.name
        if answer.whole is not None:
            seen.whole(answer.told)
            await self.reply.whole(200, answer.headers, answer.whole, decision, name)
            return seen
        assert answer.rest is not None
        await self.reply.start(200, [*answer.headers, (b"cache-control", b"no-cache")], decision, name)
        try:
            async with asyncio.timeout(self.chat_.settings.total):
                seen.piece(answer.first)
                await self.reply.body(answer.first)
                async for piece in answer.rest:
                    seen.piece(piece)
                    await self.reply.body(piece)
        except (UpstreamError, TimeoutError) as error:
            words = str(error) or f"an answer of more than {self.chat_.settings.total:g} s"
            self.chat_.account.broken.labels(name).inc()
            self.told["broken"] = words
            seen.broken = True
            await self.reply.body(sse.error(f"{name} broke off: {words}", "candidate_broke_off"))
        await self.reply.body(b"", last=True)
        return seen

    def _note(
        self, upstream: UpstreamClient, decision: RoutingDecision, seen: sse.ResponseObserver, seconds: float
    ) -> None:
        settings, log = self.chat_.settings, self.chat_.decisions
        query = "\n".join(query_texts(self.chat.texts, settings.reads))
        if settings.log_text:
            self.told["query"] = query
        if log is None or not query or seen.broken:
            return
        candidate = upstream.candidate
        tokens = seen.tokens or (None, None)
        probability = None
        if decision.probs is not None:
            probability = float(decision.probs[self.service.pool.names.index(candidate.name)])
        log.add(
            {
                "query": query,
                "candidate": candidate.name,
                "response": seen.text(),
                "finish_reason": seen.finish_reason(),
                "input_tokens": tokens[0],
                "output_tokens": tokens[1],
                "cost": candidate.cost(*tokens),
                "seconds": seconds,
                "why": decision.why,
                "probability": probability,
                "time": time.time(),
            }
        )
