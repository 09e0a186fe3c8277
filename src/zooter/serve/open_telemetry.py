"""Trace requests with OpenTelemetry, by its semantic conventions for HTTP servers and for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans; texts are never recorded. The standard's environment
variables say where spans are sent and how many are sampled (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, …).
"""

import asyncio
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter

from zooter.data.pool import Candidate
from zooter.serve.http import sse
from zooter.serve.http.auth import Scope
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.http.endpoints import COMPLETIONS
from zooter.serve.routing_decision import RoutingDecision
from zooter.serve.throttled_warning import ThrottledWarning
from zooter.serve.tracing import CallSpan, Tracing
from zooter.serve.upstream.errors import UpstreamError

log = logging.getLogger(__name__)

CLOSE_SECONDS = 2.0
_PROPAGATOR = TraceContextTextMapPropagator()  # traceparent and tracestate
_ROW_ATTRIBUTES = {  # of a row of the access log
    "status": "http.response.status_code",
    "request": "zooter.request_id",
    "key": "zooter.key",
    "candidate": "zooter.candidate",
    "why": "zooter.why",
    "fault": "zooter.fault",
    "cost": "zooter.cost_dollars",
    "broken": "zooter.broken",
    "client": "zooter.client",
}


class OpenTelemetry(Tracing):
    """Spans that are sent in batches by a thread: a collector that fails or hangs costs spans, never a request.

    Args:
        lost_spans: counts spans that could not be sent.
        exporter: sends spans; None sends them to a collector by OTLP over HTTP.
    """

    def __init__(self, lost_spans: Counter, exporter: SpanExporter | None = None) -> None:
        # Its warnings would come with every batch or span while a collector is away.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        names = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "zooter"), "service.version": version("zooter")}
        self._provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
        sender = _CountingExporter(exporter or OTLPSpanExporter(), lost_spans)
        self._provider.add_span_processor(BatchSpanProcessor(sender))
        self._tracer = self._provider.get_tracer("zooter", version("zooter"))

    @contextmanager
    def request(self, scope: Scope) -> Iterator[None]:
        """Trace a request; its row of the access log gives the attributes at its end."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method, route = scope["method"], scope["path"]  # only fixed paths are traced
        attributes = {"http.request.method": method, "url.path": route, "http.route": route, "url.scheme": "http"}
        with self._tracer.start_as_current_span(
            f"{method} {route}", _PROPAGATOR.extract(headers), SpanKind.SERVER, attributes
        ) as span:
            try:
                yield
            finally:
                row = scope["zooter"]
                span.set_attributes({name: row[key] for key, name in _ROW_ATTRIBUTES.items() if row.get(key)})
                if row.get("status", 500) >= 500:
                    span.set_attribute("error.type", str(row.get("status", "none")))
                    span.set_status(StatusCode.ERROR)

    @contextmanager
    def step(self, name: str) -> Iterator[Span]:
        """Trace a step of the current request."""
        with self._tracer.start_as_current_span(name) as span:
            yield span

    def record_decision(self, span: Span, decision: RoutingDecision) -> None:
        """Record a decision on the span of its step."""
        span.set_attribute("zooter.why", decision.why)
        if decision.order:
            span.set_attribute("zooter.candidate", decision.order[0])
        if decision.fault is not None:
            span.set_attribute("zooter.fault", decision.fault)

    def call(self, candidate: Candidate, url: str, chat: ChatRequest) -> CallSpan:
        """Start to trace a call to a candidate's server.

        Args:
            candidate: the candidate.
            url: base URL of the server.
            chat: the request.
        """
        model = candidate.model or candidate.name
        operation = "text_completion" if chat.endpoint == COMPLETIONS else "chat"
        server = urlsplit(url)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "openai",  # whose form of requests the server speaks
            "gen_ai.request.model": model,
            "gen_ai.request.stream": chat.stream,
            "server.address": server.hostname or "",
            "server.port": server.port or (443 if server.scheme == "https" else 80),
            "zooter.candidate": candidate.name,
        }
        if chat.needs.output_tokens:
            attributes["gen_ai.request.max_tokens"] = chat.needs.output_tokens
        return _CallSpan(self._tracer.start_span(f"{operation} {model}", kind=SpanKind.CLIENT, attributes=attributes))

    async def close(self) -> None:
        """Send what is still to be sent, for `CLOSE_SECONDS` at most."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSE_SECONDS)


class _CallSpan(CallSpan):
    def __init__(self, span: Span) -> None:
        self._span = span

    def headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Add the context of this span; see `CallSpan`."""
        carrier = dict(headers)
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span))
        return carrier

    def record_response(self, completion: dict[str, Any], first_events: bytes) -> None:
        """Record the model, the reason of the end and the tokens; see `CallSpan`."""
        answer = completion or next(iter(sse.iter_objects(first_events)), {})
        for name, value in (("id", answer.get("id")), ("model", answer.get("model"))):
            if isinstance(value, str):
                self._span.set_attribute(f"gen_ai.response.{name}", value)
        choices = answer.get("choices")
        reasons = [choice.get("finish_reason") for choice in choices or () if isinstance(choice, dict)]
        if reasons and all(isinstance(reason, str) for reason in reasons):
            self._span.set_attribute("gen_ai.response.finish_reasons", reasons)
        self._record_tokens(sse.usage_tokens(answer))

    def record_stream(self, observer: sse.ResponseObserver) -> None:
        """Record the tokens and how a stream ended; see `CallSpan`."""
        self._record_tokens(observer.tokens)
        if (reason := observer.finish_reason()) is not None:
            self._span.set_attribute("gen_ai.response.finish_reasons", [reason])
        if observer.broken:
            self._span.set_attribute("error.type", "broken")
            self._span.set_status(StatusCode.ERROR)

    def record_failure(self, error: UpstreamError) -> None:
        """Record the kind of failure; see `CallSpan`."""
        self._span.set_attribute("error.type", str(error.status or error.kind))
        self._span.set_status(StatusCode.ERROR, str(error))

    def end(self) -> None:
        """End the span once; see `CallSpan`."""
        if self._span.is_recording():
            self._span.end()

    def _record_tokens(self, tokens: tuple[int, int] | None) -> None:
        if tokens is not None:
            self._span.set_attribute("gen_ai.usage.input_tokens", tokens[0])
            self._span.set_attribute("gen_ai.usage.output_tokens", tokens[1])


class _CountingExporter(SpanExporter):
    """Count the spans that another exporter cannot send, and say so once a minute."""

    def __init__(self, exporter: SpanExporter, lost_spans: Counter) -> None:
        self._exporter, self._lost_spans, self._warning = exporter, lost_spans, ThrottledWarning(log)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans, and count those that are lost."""
        try:
            result, reason = self._exporter.export(spans), "the collector does not take them"
        except Exception as error:  # noqa: BLE001 - any exporter, in a thread where nobody else looks
            result, reason = SpanExportResult.FAILURE, str(error)
        if result is not SpanExportResult.SUCCESS:
            self._lost_spans.inc(len(spans))
            self._warning.warn("spans are lost: %s", reason)
        return result

    def shutdown(self) -> None:
        """Close the other exporter."""
        self._exporter.shutdown()
