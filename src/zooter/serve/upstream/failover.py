"""From candidate to candidate until one begins to answer."""

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
        tries: most candidates that are asked for one request.
    """

    budget: RetryBudget
    account: Metrics
    tries: int

    async def begin(
        self, order: Sequence[str], upstreams: Mapping[str, UpstreamClient], chat: ChatRequest
    ) -> tuple[UpstreamClient, UpstreamResponse]:
        """The first candidate in order that begins to answer, and its answer.

        Raises:
            Refusal: none does: 502 with what happened, or 503 when nobody could be asked; both say when to come back.
            UpstreamError: a server's answer that is the client's to see: a request that is wrong, or, where only one
                candidate was to be asked, its own words.
        """
        self.budget.request()
        failed: list[tuple[str, UpstreamError]] = []
        for name in order:
            upstream = upstreams[name]
            if len(failed) >= self.tries or not upstream.breaker.admit():
                continue
            if failed and not self.budget.spend():
                upstream.breaker.given_up()
                break
            try:
                return upstream, await self.ask(upstream, chat)
            except UpstreamError as error:
                if not error.again or (len(order) == 1 and error.status is not None and error.status >= 400):
                    raise
                failed.append((name, error))
        raise self._nobody(failed, [upstreams[name] for name in order])

    async def ask(self, upstream: UpstreamClient, chat: ChatRequest) -> UpstreamResponse:
        """One call of an admitted candidate, counted, with its breaker told how it went.

        Raises:
            UpstreamError: the answer has not begun.
        """
        name, clock = upstream.candidate.name, asyncio.get_running_loop().time
        start = clock()
        try:
            answer = await upstream.ask(chat)
        except UpstreamError as error:
            self.account.upstream_failed(name, error.kind, error.status)
            if error.again:
                upstream.breaker.failed(error.retry_after)
            else:
                upstream.breaker.succeeded()
            raise
        except asyncio.CancelledError:
            upstream.breaker.given_up()
            raise
        upstream.breaker.succeeded()
        self.account.upstream_began(name, clock() - start)
        return answer

    def _nobody(self, failed: list[tuple[str, UpstreamError]], asked: list[UpstreamClient]) -> ApiError:
        wait = min((upstream.breaker.wait() for upstream in asked), default=0.0)
        told = "; ".join(f"{name}: {error}" for name, error in failed)
        return ApiError(
            502 if failed else 503,
            f"no candidate answered ({told})" if failed else "all candidates are left alone after failures",
            "server_error",
            code="no_candidate_answered" if failed else "candidates_unavailable",
            retry_after=max(1, math.ceil(wait)),
        )
