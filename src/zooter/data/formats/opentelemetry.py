"""Spans of OpenTelemetry's GenAI conventions, as OTLP JSON: `resourceSpans`, and evaluations as events or logs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from zooter.data.formats.items import Item, read_items, to_batches
from zooter.data.formats.messages import parse_json, role_text
from zooter.data.formats.protocol import Note, Preview
from zooter.data.formats.sources import list_files

EVALUATION, DETAILS = "gen_ai.evaluation.result", "gen_ai.client.inference.operation.details"
OPERATIONS = ("chat", "text_completion", "generate_content")
INPUT, OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"


@dataclass(frozen=True)
class OpenTelemetry:
    """Read spans of chat calls; the reward is the score of an evaluation of the span.

    Attributes:
        metric: name of the evaluation whose score is the reward; None takes the first that is met.
    """

    name: ClassVar[str] = "opentelemetry"
    metric: str | None = None

    def recognises(self, preview: Preview) -> bool:
        """Tell whether an object holds spans or log records of a resource."""
        return preview.has("resourceSpans") or preview.has("resourceLogs")

    def read(self, path: Path, note: Note) -> Iterator[pa.RecordBatch]:
        """Read every file at the path: first the evaluations, then the spans; see `Format`."""
        files = list_files(path)
        scores = _Scores(self.metric)
        for file in files:
            for item in read_items(file):
                scores.add(item)
        if scores.names:
            chosen = scores.metric
            note(f"the reward is the evaluation {chosen!r} of {scores.names} (metric=… chooses another)")
        else:
            note("there is no evaluation; the responses are to be rewarded")
        skipped: list[str] = []
        for file in files:
            yield from to_batches(
                row for item in read_items(file) for span in _spans(item) for row in _rows(span, scores, skipped)
            )
        if skipped:
            note(f"{len(skipped):,} spans of models have no text and are left out: record {INPUT}")


@dataclass
class _Scores:
    """Scores by the span or the response that they evaluate."""

    metric: str | None
    names: list[str] = field(default_factory=list)
    values: dict[str, float | None] = field(default_factory=dict)

    def add(self, item: Item) -> None:
        """Add the evaluations among an object's span events and log records."""
        for span in _spans(item):
            for event in span.items_or_none("events"):
                if event.get("name") == EVALUATION:
                    self._add(event, span.text_or_none("spanId"))
        for group in _groups(item, "resourceLogs", "scopeLogs"):
            for record in group.items("logRecords"):
                if EVALUATION in (record.get("eventName"), _attributes(record).get("event.name")):
                    self._add(record, record.text_or_none("spanId"))

    def _add(self, event: Item, span: str | None) -> None:
        attributes = Item(event.path, event.place, {"attributes": None, **_attributes(event)})
        name = attributes.values.get("gen_ai.evaluation.name")
        if not isinstance(name, str):
            raise event.error("a text as attribute 'gen_ai.evaluation.name'", name)
        if name not in self.names:
            self.names.append(name)
        self.metric = self.metric or name
        if name == self.metric:
            value = event.as_number(attributes.values.get("gen_ai.evaluation.score.value"), "score.value")
            for key in (span, attributes.values.get("gen_ai.response.id")):
                if key:
                    self.values[str(key)] = value


def _rows(span: Item, scores: _Scores, skipped: list[str]) -> Iterator[dict[str, Any]]:
    attributes = _attributes(span)
    model = attributes.get("gen_ai.request.model") or attributes.get("gen_ai.response.model")
    if model is None or attributes.get("gen_ai.operation.name", "chat") not in OPERATIONS:
        return
    for event in span.items_or_none("events"):
        if event.get("name") == DETAILS:
            attributes = {**_attributes(event), **attributes}
    query = role_text(parse_json(attributes.get(INPUT)), "user")
    if not query.strip():
        skipped.append(span.place)
        return
    keys = span.text_or_none("spanId"), attributes.get("gen_ai.response.id")
    reasons = attributes.get("gen_ai.response.finish_reasons")
    start, end = (span.number_or_none(key) for key in ("startTimeUnixNano", "endTimeUnixNano"))
    counts = Item(span.path, span.place, {"i": attributes.get("gen_ai.usage.input_tokens"),
                                          "o": attributes.get("gen_ai.usage.output_tokens")})  # fmt: skip
    yield span.row({
        "query": query, "candidate": str(model),
        "response": role_text(parse_json(attributes.get(OUTPUT)), "assistant") or None,
        "reward": next((scores.values[key] for key in keys if key in scores.values), None),
        "finish_reason": str(reasons[0]) if isinstance(reasons, list) and reasons else None,
        "input_tokens": counts.count_or_none("i"), "output_tokens": counts.count_or_none("o"),
        "seconds": None if start is None or end is None else (end - start) / 1e9,
    })  # fmt: skip


def _groups(item: Item, resources: str, scopes: str) -> Iterator[Item]:
    for resource in item.items_or_none(resources):
        yield from resource.items(scopes)


def _spans(item: Item) -> Iterator[Item]:
    if item.get("resourceSpans") is None and item.get("resourceLogs") is None:
        raise item.error("'resourceSpans' or 'resourceLogs'", list(item.values))
    for group in _groups(item, "resourceSpans", "scopeSpans"):
        yield from group.items("spans")


def _attributes(item: Item) -> dict[str, Any]:
    return {pair.text("key"): _value(pair.get("value")) for pair in item.items_or_none("attributes")}


def _value(value: Any) -> Any:
    """Convert OTLP's AnyValue; None for something else."""
    if not isinstance(value, Mapping):
        return None
    for key, content in value.items():
        if key == "intValue":  # a text in OTLP's JSON form
            return int(content) if isinstance(content, int | str) and str(content).lstrip("-").isdecimal() else content
        if key not in ("arrayValue", "kvlistValue"):
            return content
        inner = content.get("values") if isinstance(content, Mapping) else None
        values = [entry for entry in inner if isinstance(entry, Mapping)] if isinstance(inner, list) else []
        if key == "arrayValue":
            return [_value(entry) for entry in values]
        return {str(entry.get("key")): _value(entry.get("value")) for entry in values}
    return None
