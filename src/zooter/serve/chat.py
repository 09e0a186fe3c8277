"""Answer chat requests: decide, ask a candidate, pass its response on, and record what it took."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from zooter.selector.protocol import Selection
from zooter.serve import eligibility, selector_client
from zooter.serve.decision import DecisionPolicy, query_texts
from zooter.serve.decision_log import DecisionLog
from zooter.serve.http import auth, chat_request, sse
from zooter.serve.http.auth import Receive, Scope, Send
from zooter.serve.http.body import BodyReader
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.http.endpoints import CHAT, ENDPOINTS
from zooter.serve.http.errors import ApiError
from zooter.serve.http.protocol import ABORT
from zooter.serve.metrics import Metrics
from zooter.serve.response import ResponseSender, SlowClientError
from zooter.serve.routing_decision import RoutingDecision
from zooter.serve.service import ROUTED, Service
from zooter.serve.settings import ServeSettings
from zooter.serve.tracing import NO_TRACING, Tracing
from zooter.serve.upstream.client import UpstreamClient, UpstreamResponse
from zooter.serve.upstream.errors import UpstreamError
from zooter.serve.upstream.failover import Failover
from zooter.serve.upstream.headers import request_headers

MAX_LOGGED_TEXT = 10_000  # characters of a query in the access log


@dataclass(frozen=True)
class ChatHandler:
    """Answer requests to `/v1/chat/completions`, and to the text endpoints that are passed on like it.

    Attributes:
        settings: settings of the server.
        metrics: metrics of the server.
        policy: decides which candidates are asked.
        failover: asks them in order.
        decision_log: None writes no decision log.
        bodies: receives and parses bodies.
        tracing: traces decisions and streams.
    """

    settings: ServeSettings
    metrics: Metrics
    policy: DecisionPolicy
    failover: Failover
    decision_log: DecisionLog | None
    bodies: BodyReader
    tracing: Tracing = NO_TRACING

    async def handle(self, scope: Scope, receive: Receive, send: Send, service: Callable[[], Service]) -> None:
        """Answer one request; a client that disconnects ends the call to its candidate.

        Args:
            scope: ASGI's scope, with the access log's row as `scope["zooter"]`.
            receive: ASGI's receive.
            send: ASGI's send.
            service: returns the router and the candidates to answer with, once the body is there.

        Raises:
            ApiError: the request cannot be answered; nothing has been sent yet.
        """
        headers = dict(scope["headers"])
        async with self.bodies.receive(headers, receive, scope["zooter"]["client_key"]) as body:
            parse = partial(chat_request.parse_chat_request, endpoint=ENDPOINTS[scope["path"]])
            chat = await self.bodies.parser.run(parse, body)
            del body  # the chat holds it
            await self._answer(scope, receive, send, service(), chat)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, service: Service, chat: ChatRequest) -> None:
        headers = dict(scope["headers"])
        sender = ResponseSender(send, self.settings.slow_client)
        exchange = _Exchange(self, scope["zooter"], sender, service, chat, headers)
        work = asyncio.ensure_future(exchange.run())
        disconnect = asyncio.ensure_future(auth.wait_for_disconnect(receive))
        try:
            await asyncio.wait((work, disconnect), return_when=asyncio.FIRST_COMPLETED)
            if work.done() and isinstance(work.exception(), SlowClientError):
                scope["extensions"][ABORT]()
                await disconnect
        finally:
            disconnected = not work.done() or isinstance(work.exception(), SlowClientError)
            for task in (work, disconnect):
                task.cancel()
            await asyncio.gather(work, disconnect, return_exceptions=True)
        if disconnected:
            self.metrics.disconnects.inc()
            scope["zooter"]["client"] = "disconnected"
        else:
            work.result()


@dataclass
class _Exchange:
    """One request and its response; `log_row` is the request's row of the access log."""

    handler: ChatHandler
    log_row: dict[str, Any]
    sender: ResponseSender
    service: Service
    chat: ChatRequest
    headers: Mapping[bytes, bytes]

    async def run(self) -> None:
        """Answer with a selector's response, or with the first response of the candidates that a decision names."""
        self.log_row["model"] = self.chat.model[:100]
        if self.chat.model.startswith(f"{ROUTED}:"):
            await self._run_selector(self.chat.model.removeprefix(f"{ROUTED}:"))
            return
        decision = await self._decide()
        milliseconds = round(decision.seconds * 1e3, 2)
        self.log_row |= {"why": decision.why, "decision_ms": milliseconds, "fault": decision.fault}
        if not decision.order or not self.service.upstreams:
            raise ApiError(503, "no candidate has a url: give a pool file", "server_error", "no_candidates")
        await self._ask(decision)

    async def _decide(self) -> RoutingDecision:
        chat, service = self.chat, self.service
        if chat.model == ROUTED:
            client = self.log_row["client_key"] + self.headers.get(b"x-zooter-conversation", b"")
            service = eligibility.restrict(service, chat.needs, self.headers)
            with self.handler.tracing.step("decide") as span:
                decision = await self.handler.policy.decide(chat, service, client)
                self.handler.tracing.record_decision(span, decision)
            return decision
        if chat.model in service.upstreams:
            return RoutingDecision((chat.model,), "asked for")
        raise self._unknown_model()

    def passed_headers(self) -> dict[str, str]:
        """Return the client's headers that are passed on."""
        return request_headers(self.headers, self.handler.settings.pass_headers)

    async def _ask(self, decision: RoutingDecision) -> None:
        """Ask the candidates of a decision in order and pass the first response on."""
        metrics = self.handler.metrics
        start = time.perf_counter()
        try:
            upstream, response = await self.handler.failover.first_response(
                decision.order, self.service.upstreams, self.chat, self.passed_headers(), decision.why == "asked for"
            )
        except UpstreamError as error:
            await self.sender.send_whole(error.status or 502, error.headers, error.body, decision, decision.order[0])
            return
        name = upstream.candidate.name
        keep_text = self.handler.decision_log is not None and self.handler.settings.decisions_responses
        observer = sse.ResponseObserver(keep_text)
        try:
            decision = self.handler.policy.record_answer(decision, name)
            first_byte = round((time.perf_counter() - start) * 1e3, 2)
            self.log_row |= {"candidate": name, "why": decision.why, "first_byte_ms": first_byte}
            metrics.choices.labels(name, decision.why).inc()
            with self.handler.tracing.step("send" if response.events is None else "stream"):
                await self._pass_on(upstream, response, decision, observer)
        finally:
            response.span.record_stream(observer)
            response.close()
            self.log_row["cost"] = observer.cost(upstream.candidate, self.chat.needs.tokens)
        seconds = time.perf_counter() - start
        metrics.response_seconds.labels(name).observe(seconds)
        metrics.record_tokens(upstream.candidate, observer.tokens)
        if observer.tokens:
            self.log_row["input_tokens"], self.log_row["output_tokens"] = observer.tokens
        self._log_decision(upstream, decision, observer, seconds)

    async def _pass_on(
        self,
        upstream: UpstreamClient,
        response: UpstreamResponse,
        decision: RoutingDecision,
        observer: sse.ResponseObserver,
    ) -> None:
        """Send a response to the client; a stream that breaks ends with an error event."""
        settings, name = self.handler.settings, upstream.candidate.name
        if response.body is not None:
            observer.observe_completion(response.completion)
            await self.sender.send_whole(200, response.headers, response.body, decision, name)
            return
        assert response.events is not None
        await self.sender.start(200, [*response.headers, (b"cache-control", b"no-cache")], decision, name)
        try:
            async with asyncio.timeout(settings.total):
                observer.observe_events(response.first_events)
                await self.sender.send_body(response.first_events)
                async for events in response.events:
                    observer.observe_events(events)
                    await self.sender.send_body(events)
        except (UpstreamError, TimeoutError) as error:
            message = str(error) or f"an answer of more than {settings.total:g} s"
            self.handler.metrics.broken_streams.labels(name).inc()
            self.log_row["broken"] = message
            observer.broken = True
            await self.sender.send_body(sse.error_event(f"{name} broke off: {message}", "candidate_broke_off"))
        await self.sender.send_body(b"", last=True)

    async def _run_selector(self, name: str) -> None:
        """Answer with the response that a selector returns."""
        service = self.service
        selection, ask, seconds = await self._select(name)
        calls = ask.ledger.calls
        self.handler.metrics.escalations.labels(name).inc(max(0, len(calls) - 1))
        self.log_row |= {"why": selection.why, "calls": dict(calls), "select_ms": round(seconds * 1e3, 2)}
        self.log_row["cost"] = ask.record_tokens(self.handler.metrics)
        if selection.response is None:
            await self._send_selector_error(ask, name)
            return
        chosen = selection.response.candidate
        self.log_row["candidate"] = chosen
        self.handler.metrics.choices.labels(chosen, name).inc()
        completion = selector_client.selected_completion(selection, ask)
        decision = RoutingDecision((chosen,), f"{name}: {selection.why}", seconds)
        body = selector_client.completion_events(completion) if self.chat.stream else json.dumps(completion).encode()
        content_type = b"text/event-stream" if self.chat.stream else b"application/json"
        await self.sender.send_whole(200, [(b"content-type", content_type)], body, decision, chosen)
        if chosen in service.upstreams:
            observer = sse.ResponseObserver(keep_text=True)
            observer.observe_completion(completion)
            self._log_decision(service.upstreams[chosen], decision, observer, seconds)

    async def _select(self, name: str) -> tuple[Selection, selector_client.ServedAsk, float]:
        """Run a selector: its selection, the calls that it made, and the seconds that it took."""
        service, settings = self.service, self.handler.settings
        selector = service.selectors.get(name)
        if selector is None:
            raise self._unknown_model()
        if self.chat.endpoint != CHAT:
            raise ApiError(400, f"expected a chat request for {ROUTED}:{name}", "invalid_request_error", param="model")
        query = "\n".join(query_texts(self.chat.texts, settings.query_from))
        if not query:
            raise chat_request.bad_request("a user's text to select by", "messages")
        service = eligibility.restrict(service, self.chat.needs, self.headers)
        pool = selector_client.reachable_pool(service.pool, service.upstreams)
        start = time.perf_counter()
        try:
            async with asyncio.timeout(settings.total):
                upstreams, headers = service.eligible_upstreams, self.passed_headers()
                failover, parser = self.handler.failover, self.handler.bodies.parser
                arguments = selector, self.chat, query, pool, upstreams, failover, headers, parser
                selection, ask = await selector_client.select(*arguments)
        except TimeoutError as error:
            message = f"expected the selector's answer within {settings.total:g} s"
            raise ApiError(504, message, "server_error", "timeout") from error
        return selection, ask, time.perf_counter() - start

    async def _send_selector_error(self, ask: selector_client.ServedAsk, name: str) -> None:
        """Say why no candidate answered a selector; a request that is wrong gets the server's own error."""
        if ask.request_errors:
            error = ask.request_errors[-1]
            decision = RoutingDecision((), name)
            await self.sender.send_whole(error.status or 502, error.headers, error.body, decision, name)
            return
        failures = "; ".join(
            f"{response.candidate}: {response.error}" for calls in ask.ledger.rounds for response in calls
        )
        message = f"no candidate answered ({failures})"
        raise ApiError(502, message, "server_error", "no_candidate_answered", retry_after=1)

    def _unknown_model(self) -> ApiError:
        message = f"expected as model one of {self.service.model_names}"
        return ApiError(404, message, "invalid_request_error", "model_not_found", "model")

    def _log_decision(
        self, upstream: UpstreamClient, decision: RoutingDecision, observer: sse.ResponseObserver, seconds: float
    ) -> None:
        settings, log = self.handler.settings, self.handler.decision_log
        if not settings.log_text and (log is None or observer.broken):
            return
        query = "\n".join(query_texts(self.chat.texts, settings.query_from))
        if settings.log_text:
            self.log_row["query"] = query[:MAX_LOGGED_TEXT]
        if log is None or not query or observer.broken:
            return
        candidate = upstream.candidate
        tokens = observer.tokens or (None, None)
        probability = None
        if decision.probs is not None:
            probability = float(decision.probs[self.service.pool.names.index(candidate.name)])
        log.add(
            {
                "query": query,
                "candidate": candidate.name,
                "response": observer.text(),
                "finish_reason": observer.finish_reason(),
                "input_tokens": tokens[0],
                "output_tokens": tokens[1],
                "cost": candidate.cost(*tokens),
                "seconds": seconds,
                "why": decision.why,
                "probability": probability,
                "time": time.time(),
            }
        )
