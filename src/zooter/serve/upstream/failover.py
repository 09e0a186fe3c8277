"""Ask candidates in order until one begins to answer."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.http.errors import ApiError
from zooter.serve.metrics import Metrics
from zooter.serve.tracing import NO_TRACING, CallSpan, Tracing
from zooter.serve.upstream.circuit_breaker import RetryBudget
from zooter.serve.upstream.client import UpstreamClient, UpstreamResponse
from zooter.serve.upstream.errors import UpstreamError
from zooter.serve.upstream.replica import Admission, Replica, least_loaded

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Failover:
    """Failover before the first byte, within a budget of retries.

    Attributes:
        budget: limits retries over all requests.
        metrics: metrics of the server.
        max_attempts: maximum number of servers asked for one request.
        hedge_after: seconds without a response after which the next server is asked too, and the first to begin is
            taken; None asks one server after the other.
        tracing: traces each call.
    """

    budget: RetryBudget
    metrics: Metrics
    max_attempts: int
    hedge_after: float | None = None
    tracing: Tracing = NO_TRACING

    async def first_response(
        self,
        order: Sequence[str],
        upstreams: Mapping[str, UpstreamClient],
        chat: ChatRequest,
        headers: Mapping[str, str] = NO_HEADERS,
        by_name: bool = False,
    ) -> tuple[UpstreamClient, UpstreamResponse]:
        """Return the first candidate in order that begins to answer, and its response.

        Of a candidate with several servers, each is asked before the next candidate is.

        Args:
            order: names of candidates.
            upstreams: name → client of the candidate's servers.
            chat: the request.
            headers: headers of the client that are passed on.
            by_name: whether the client asked for the candidate by name.

        Raises:
            ApiError: no candidate answers: 502 with the failures, or 503 if none could be asked; both with
                `Retry-After`.
            UpstreamError: a server's error that the client should see: its request is wrong or too long for all of
                them, or `order` has one candidate only.
        """
        self.budget.record_request()
        attempts = _Attempts([upstreams[name] for name in order])
        running: dict[asyncio.Task[UpstreamResponse], UpstreamClient] = {}
        try:
            while admitted := self._admit(attempts):
                upstream, admission = admitted
                call = self.send(upstream, admission, chat, headers, by_name)
                if self.hedge_after is None:  # no task of its own, which would take time
                    try:
                        return upstream, await call
                    except UpstreamError as error:
                        attempts.record(upstream, error)
                else:
                    running[asyncio.create_task(call)] = upstream
                    if (answer := await self._race(running, attempts, self.hedge_after)) is not None:
                        return answer
            if running and (answer := await self._race(running, attempts, None)) is not None:
                return answer
            raise attempts.final_error()
        finally:
            await _abandon(running)

    async def _race(
        self, running: dict[asyncio.Task[UpstreamResponse], UpstreamClient], attempts: "_Attempts", wait: float | None
    ) -> tuple[UpstreamClient, UpstreamResponse] | None:
        """Return the first response of running calls; None once all have failed, or after `wait` seconds."""
        end = None if wait is None else asyncio.get_running_loop().time() + wait
        while running:
            timeout = None if end is None else max(0.0, end - asyncio.get_running_loop().time())
            done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return None
            call = done.pop()
            upstream = running.pop(call)
            try:
                return upstream, call.result()
            except UpstreamError as error:
                attempts.record(upstream, error)
        return None

    async def send(
        self,
        upstream: UpstreamClient,
        admission: Admission,
        chat: ChatRequest,
        headers: Mapping[str, str] = NO_HEADERS,
        by_name: bool = False,
    ) -> UpstreamResponse:
        """Send a request to the server that has admitted it, and record the result.

        Args:
            upstream: client of the candidate.
            admission: the request's place; given back when the response has ended.
            chat: the request.
            headers: headers of the client that are passed on.
            by_name: whether the client asked for the candidate by name.

        Raises:
            UpstreamError: the response has not begun.
        """
        name, clock = upstream.candidate.name, asyncio.get_running_loop().time
        breaker, start = admission.replica.breaker, clock()
        span = self.tracing.call(upstream.candidate, admission.replica.url, chat)
        response = None
        try:
            response = await upstream.send(chat, admission.replica.url, span.headers(headers))
            span.record_response(response.completion, response.first_events)
            breaker.record_success()
            self.metrics.first_byte_seconds.labels(name).observe(clock() - start)
        except UpstreamError as error:
            span.record_failure(error)
            self.metrics.record_failure(name, error.kind, error.status)
            if error.concerns_everybody(by_name):
                breaker.record_failure(error.retry_after)
            elif not by_name:
                breaker.record_success()
            raise
        finally:
            admission.end_probe()
            self.metrics.open_breakers.labels(name).set(upstream.is_out)
            if response is None or response.events is None:
                admission.close()
                span.end()
        if response.events is None:
            return response
        return replace(response, close=_close_all(response, admission, span), span=span)

    def _admit(self, attempts: "_Attempts") -> tuple[UpstreamClient, Admission] | None:
        """Admit the request to the next server; None if there is none, or no retry is left for it."""
        upstream_and_replica = attempts.next() if len(attempts.tried) < self.max_attempts else None
        if upstream_and_replica is None or (attempts.tried and not self.budget.spend()):
            return None
        upstream, replica = upstream_and_replica
        attempts.tried.append(replica)
        return upstream, replica.admit()


@dataclass
class _Attempts:
    """The servers that one request has been sent to.

    Attributes:
        upstreams: clients of the candidates, in order.
        tried: servers that the request has been sent to.
        failures: (candidate, error) of those that failed.
    """

    upstreams: list[UpstreamClient]
    tried: list[Replica] = field(default_factory=list)
    failures: list[tuple[str, UpstreamError]] = field(default_factory=list)

    def record(self, upstream: UpstreamClient, error: UpstreamError) -> None:
        """Record a failed call.

        Args:
            upstream: the server's client.
            error: why the call failed.

        Raises:
            UpstreamError: the request is wrong, so that no other server is asked.
        """
        if not error.retryable:
            raise error
        self.failures.append((upstream.candidate.name, error))

    def next(self) -> tuple[UpstreamClient, Replica] | None:
        """Return the next server to ask; None if there is none that can be asked now."""
        too_small = {name for name, error in self.failures if error.kind == "context"}
        for upstream in self.upstreams:
            replica = least_loaded(upstream.replicas, self.tried)
            if replica is not None and upstream.candidate.name not in too_small:
                return upstream, replica
        return None

    def final_error(self) -> ApiError | UpstreamError:
        """Return the error that the client gets when no candidate answers."""
        if self.failures:
            last = self.failures[-1][1]
            if all(error.kind == "context" for _, error in self.failures):
                return last
            if len(self.upstreams) == 1 and last.status is not None and last.status >= 400:
                return last
        wait = min((upstream.wait() for upstream in self.upstreams), default=0.0)
        details = "; ".join(f"{name}: {error}" for name, error in self.failures)
        return ApiError(
            502 if self.failures else 503,
            f"no candidate answered ({details})" if self.failures else "the circuit breaker of every candidate is open",
            "server_error",
            code="no_candidate_answered" if self.failures else "candidates_unavailable",
            retry_after=max(1, math.ceil(wait)),
        )


async def _abandon(running: Mapping[asyncio.Task[UpstreamResponse], UpstreamClient]) -> None:
    """End calls whose responses are no longer wanted, also one that has just begun to answer."""
    for call in running:
        call.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, UpstreamResponse):
            result.close()


def _close_all(response: UpstreamResponse, admission: Admission, span: CallSpan) -> Callable[[], None]:
    def close() -> None:
        """End the call's admission and its span, and close its response."""
        admission.close()
        response.close()
        span.end()

    return close
