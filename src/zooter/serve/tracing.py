"""Trace requests: what is traced, and tracing that is off, which does nothing."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from zooter.data.pool import Candidate
from zooter.serve.http.auth import Scope
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.http.sse import ResponseObserver
from zooter.serve.routing_decision import RoutingDecision
from zooter.serve.upstream.errors import UpstreamError

_NOTHING: AbstractContextManager[None] = nullcontext()


class CallSpan:
    """Span of one call to a candidate's server, to the end of its response."""

    def headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers of the call: those of the client that are passed on, with the context of this span."""
        return headers

    def record_response(self, completion: dict[str, Any], first_events: bytes) -> None:
        """Record a response that is whole or has begun.

        Args:
            completion: the whole response as JSON; empty for a stream.
            first_events: the first events of a stream; empty for a whole response.
        """

    def record_stream(self, observer: ResponseObserver) -> None:
        """Record what was learnt while a stream passed through."""

    def record_failure(self, error: UpstreamError) -> None:
        """Record why the response has not begun."""

    def end(self) -> None:
        """End the span; further calls do nothing."""


class Tracing:
    """Spans of requests."""

    def request(self, scope: Scope) -> AbstractContextManager[None]:
        """Trace a request; its row of the access log gives the attributes at its end."""
        return _NOTHING

    def step(self, name: str) -> AbstractContextManager[Any]:
        """Trace a step of the current request."""
        return _NOTHING

    def record_decision(self, span: Any, decision: RoutingDecision) -> None:
        """Record a decision on the span of its step."""

    def call(self, candidate: Candidate, url: str, chat: ChatRequest) -> CallSpan:
        """Start to trace a call to a candidate's server.

        Args:
            candidate: the candidate.
            url: base URL of the server.
            chat: the request.
        """
        return NO_SPAN

    async def close(self) -> None:
        """Send what is still to be sent."""


NO_SPAN = CallSpan()
NO_TRACING = Tracing()
