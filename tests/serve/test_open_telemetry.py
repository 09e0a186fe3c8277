"""Traces: spans, their attributes and their context, and collectors that fail."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from support import upstreams
from support.upstreams import Behaviour, RunningServer, running_server

from zooter.errors import ConfigError
from zooter.serve import open_telemetry

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}


@contextmanager
def traced_server(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    exporter: SpanExporter,
    behaviours: dict[str, Behaviour | None] | None = None,
) -> Iterator[RunningServer]:
    monkeypatch.setattr(open_telemetry, "OTLPSpanExporter", lambda: exporter)
    with running_server(folder, behaviours, traces=True) as front:
        yield front


def spans_of(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """Return the spans by their names; once the server has ended, which sends the last of them."""
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert len(spans) == len(exporter.get_finished_spans())
    return spans


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Return the ids of a span's trace and of its parent."""
    assert span.context is not None
    assert span.parent is not None
    return f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}"


def span_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def test_a_request_its_decision_its_call_and_its_sending_are_spans_of_the_clients_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    with traced_server(tmp_path, monkeypatch, exporter) as front:
        messages = [{"role": "user", "content": "large"}]
        body: dict[str, Any] = {"model": "zooter", "messages": messages, "max_tokens": 7}
        assert front.client.post("/v1/chat/completions", json=body, headers=CONTEXT).status_code == 200
        head = front.upstreams["large"].heads[0]
    spans = spans_of(exporter)
    assert set(spans) == {"POST /v1/chat/completions", "decide", "chat large-v1", "send"}
    request = spans["POST /v1/chat/completions"]
    assert ids(request) == (TRACE, PARENT)
    assert request.kind == SpanKind.SERVER
    for name in ("decide", "chat large-v1", "send"):
        assert ids(spans[name]) == (TRACE, span_id(request))
    call = spans["chat large-v1"]
    assert f"traceparent: 00-{TRACE}-{span_id(call)}-01\r\n" in head
    assert "tracestate: vendor=1\r\n" in head
    assert call.kind == SpanKind.CLIENT
    assert dict(call.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "large-v1",
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.stream": False,
        "gen_ai.response.id": "x",
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "server.address": "127.0.0.1",
        "server.port": int(front.upstreams["large"].url.split(":")[2].split("/")[0]),
        "zooter.candidate": "large",
    }
    attributes = dict(request.attributes or {})
    assert (attributes["http.response.status_code"], attributes["zooter.candidate"]) == (200, "large")
    assert dict(spans["decide"].attributes or {}) == {"zooter.why": "best", "zooter.candidate": "large"}
    assert "large" not in {attributes.get("query"), attributes.get("gen_ai.input.messages")}


def test_the_span_of_a_streamed_call_ends_with_the_stream_and_has_its_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    with traced_server(tmp_path, monkeypatch, exporter) as front:
        assert front.chat("small", stream=True).status_code == 200
    spans = spans_of(exporter)
    call, stream = spans["chat small-v1"], spans["stream"]
    assert call.attributes
    assert call.attributes["gen_ai.usage.output_tokens"] == 5
    assert call.attributes["gen_ai.response.model"] == "m"
    assert (call.end_time or 0) >= (stream.end_time or 0) > (stream.start_time or 0) > (call.start_time or 0)
    assert spans["POST /v1/chat/completions"].parent is None


def test_calls_that_fail_are_spans_with_their_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, failing = InMemorySpanExporter(), upstreams.respond_with(upstreams.http_response(b"{}", 500))
    with traced_server(tmp_path, monkeypatch, exporter, {"small": failing, "large": failing, "tiny": None}) as front:
        assert front.chat("small").status_code == 502
    spans = spans_of(exporter)
    for name, error in (("chat small-v1", "500"), ("chat large-v1", "500"), ("chat tiny-v1", "refused")):
        assert (spans[name].attributes or {})["error.type"] == error
        assert spans[name].status.status_code == StatusCode.ERROR
    request = spans["POST /v1/chat/completions"]
    assert (request.attributes or {})["http.response.status_code"] == 502
    assert request.status.status_code == StatusCode.ERROR


class HangingExporter(SpanExporter):
    """Collector that fails after a while."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        time.sleep(0.3)
        raise OSError("nobody there")


def test_a_collector_that_hangs_and_fails_touches_no_request_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")  # ms
    with traced_server(tmp_path, monkeypatch, HangingExporter()) as front, caplog.at_level(logging.WARNING):
        for _ in range(20):
            start = time.perf_counter()
            assert front.chat("small").status_code == 200
            assert time.perf_counter() - start < 5.0
        upstreams.wait_until(lambda: front.metric("log_rows_dropped_total", log="traces") > 0)
    warnings = [record.getMessage() for record in caplog.records if "spans are lost" in record.getMessage()]
    assert warnings == ["spans are lost: nobody there"]


def test_traces_without_the_extra_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zooter.serve.open_telemetry", None)
    with pytest.raises(ConfigError, match=r"pip install 'zooter\[otel\]'"), running_server(tmp_path, traces=True):
        pass
