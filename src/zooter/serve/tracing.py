"""Trace requests: what is traced, and tracing that is off, which does nothing."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from prometheus_client import Counter

from zooter.data.pool import Candidate
from zooter.errors import ConfigError
from zooter.serve.http.auth import Scope
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.http.sse import ResponseObserver
from zooter.serve.settings import ServeSettings

if TYPE_CHECKING:  # they use this module
    from zooter.serve.decision import RoutingDecision
    from zooter.serve.upstream.client import UpstreamResponse
    from zooter.serve.upstream.errors import UpstreamError

_NOTHING: AbstractContextManager[None] = nullcontext()


class CallSpan:
    """Span of one call to a candidate's server, to the end of its response."""

    def headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers of the call: those of the client that are passed on, with the context of this span."""
        return headers

    def record_response(self, response: "UpstreamResponse") -> None:
        """Record a response that is whole or has begun."""

    def record_stream(self, observer: ResponseObserver) -> None:
        """Record what was learnt while a stream passed through."""

    def record_failure(self, error: "UpstreamError") -> None:
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

    def record_decision(self, span: Any, decision: "RoutingDecision") -> None:
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


def start(settings: ServeSettings, lost_spans: Counter) -> Tracing:
    """Start to trace requests if the settings want it.

    Args:
        settings: settings of the server.
        lost_spans: counts spans that could not be sent.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if not settings.traces:
        return NO_TRACING
    try:
        from zooter.serve.open_telemetry import OpenTelemetry
    except ImportError as error:
        do = "pip install 'zooter[otel]', or set traces to false"
        raise ConfigError(expected="OpenTelemetry for traces", found=str(error), do=do) from error
    return OpenTelemetry(lost_spans)
