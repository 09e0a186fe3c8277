"""Ask candidates in order until one begins to answer."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.http.errors import ApiError
from zooter.serve.metrics import Metrics
from zooter.serve.upstream.circuit_breaker import RetryBudget
from zooter.serve.upstream.client import UpstreamClient, UpstreamError, UpstreamResponse


@dataclass(frozen=True)
class Failover:
    """Failover before the first byte, within a budget of retries.

    Attributes:
        budget: limits retries over all requests.
        metrics: metrics of the server.
        max_attempts: maximum number of candidates asked for one request.
    """

    budget: RetryBudget
    metrics: Metrics
    max_attempts: int

    async def first_response(
        self, order: Sequence[str], upstreams: Mapping[str, UpstreamClient], chat: ChatRequest
    ) -> tuple[UpstreamClient, UpstreamResponse]:
        """Return the first candidate in order that begins to answer, and its response.

        Args:
            order: names of candidates.
            upstreams: name → client of the candidate's server.
            chat: the request.

        Raises:
            ApiError: no candidate answers: 502 with the failures, or 503 if none could be asked; both with
                `Retry-After`.
            UpstreamError: a server's error that the client should see: its request is wrong, or `order` has one
                candidate only.
        """
        self.budget.record_request()
        failures: list[tuple[str, UpstreamError]] = []
        for name in order:
            upstream = upstreams[name]
            if len(failures) >= self.max_attempts or not upstream.breaker.admit():
                continue
            if failures and not self.budget.spend():
                upstream.breaker.cancel_probe()
                break
            try:
                return upstream, await self.send(upstream, chat)
            except UpstreamError as error:
                if not error.retryable or (len(order) == 1 and error.status is not None and error.status >= 400):
                    raise
                failures.append((name, error))
        raise self._no_answer(failures, [upstreams[name] for name in order])

    async def send(self, upstream: UpstreamClient, chat: ChatRequest) -> UpstreamResponse:
        """Send a request to a candidate that its circuit breaker has admitted, and record the result.

        Raises:
            UpstreamError: the response has not begun.
        """
        name, clock = upstream.candidate.name, asyncio.get_running_loop().time
        start = clock()
        try:
            response = await upstream.send(chat)
        except UpstreamError as error:
            self.metrics.record_failure(name, error.kind, error.status)
            if error.retryable:
                upstream.breaker.record_failure(error.retry_after)
            else:
                upstream.breaker.record_success()
            raise
        except asyncio.CancelledError:
            upstream.breaker.cancel_probe()
            raise
        upstream.breaker.record_success()
        self.metrics.record_first_byte(name, clock() - start)
        return response

    def _no_answer(self, failures: list[tuple[str, UpstreamError]], upstreams: list[UpstreamClient]) -> ApiError:
        wait = min((upstream.breaker.wait() for upstream in upstreams), default=0.0)
        details = "; ".join(f"{name}: {error}" for name, error in failures)
        return ApiError(
            502 if failures else 503,
            f"no candidate answered ({details})" if failures else "all candidates are left alone after failures",
            "server_error",
            code="no_candidate_answered" if failures else "candidates_unavailable",
            retry_after=max(1, math.ceil(wait)),
        )
