"""Count Prometheus metrics: requests, choices, latencies, errors, tokens, price, entropy and drift."""

import math
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess, values

from zooter.data.pool import Candidate
from zooter.data.types import Floats
from zooter.serve.workers.shared_memory import SharedMemory

DRIFT_WINDOW = 1_000  # decisions over which the mix of choices and tags is averaged
DEFAULT_WINDOW = 1_000  # decisions over which the share of the default candidate is counted
MIN_DECISIONS = 100  # that the share is counted over at least
MAX_DEFAULT_SHARE = 0.01  # a larger share is a problem
_FAST_BUCKETS = (0.001, 0.002, 0.004, 0.006, 0.01, 0.02, 0.04, 0.1, 0.2, 0.5, 1.0)  # s
_SLOW_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)  # s
_ENTROPY_BUCKETS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)  # bits


def share(memory: SharedMemory) -> None:
    """Keep the values of metrics that this process makes from now on where all workers can read them.

    Args:
        memory: what the workers share. A worker that is started again goes on counting from its last values.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(memory.folder)  # the only way to tell prometheus_client
    values.ValueClass = values.MultiProcessValue(lambda: memory.worker)  # type: ignore[no-untyped-call]


@dataclass
class Metrics:
    """Metrics of one server, or of one of its workers.

    Of several workers counters, histograms and the gauges of what is in flight are added up; of the others the largest
    value is shown.

    Drift compares the export's mix of choices and tags with an exponential average over recent decisions, which starts
    at the export's mix: drift starts at 0.

    Attributes:
        registry: the metrics, with the values of this process.
        memory: what the workers share.
    """

    registry: CollectorRegistry = field(default_factory=lambda: CollectorRegistry(auto_describe=True))
    memory: SharedMemory = field(default_factory=SharedMemory)

    def __post_init__(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            """Register a counter."""
            return Counter(f"zooter_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            """Register a histogram."""
            return Histogram(f"zooter_{name}", text, labels, registry=self.registry, buckets=buckets)

        def gauge(name: str, text: str, *labels: str, merge: Literal["livemax", "livesum"] = "livemax") -> Gauge:
            """Register a gauge; `merge` says what is shown of the values of several workers."""
            return Gauge(f"zooter_{name}", text, labels, registry=self.registry, multiprocess_mode=merge)

        self.requests = counter("requests", "Requests answered", "route", "status")
        self.choices = counter("choices", "Candidates chosen by the router or for a conversation", "candidate", "why")
        self.decision_seconds = histogram("decision_seconds", "From a parsed request to its decision", _FAST_BUCKETS)
        self.backup_decisions = counter("backup_decisions", "Decisions by the export without a transformer", "reason")
        self.decision_defaults = counter("decision_defaults", "Decisions that fell to the default candidate", "reason")
        self.first_byte_seconds = histogram(
            "upstream_first_byte_seconds", "Until an answer began", _SLOW_BUCKETS, "candidate"
        )
        self.response_seconds = histogram("upstream_seconds", "Until an answer's end", _SLOW_BUCKETS, "candidate")
        self.errors = counter("upstream_errors", "Calls that failed", "candidate", "kind")
        self.fallbacks = counter("fallbacks", "Requests answered by another candidate than the chosen one", "candidate")
        self.escalations = counter("escalations", "Further candidates asked by a selector", "selector")
        self.broken_streams = counter("streams_broken", "Streams that broke off", "candidate")
        self.disconnects = counter("client_disconnects", "Clients that left before their response ended")
        self.tokens = counter("tokens", "Tokens, as reported by candidates' servers", "candidate", "kind")
        self.price = counter("price_dollars", "Price of those tokens", "candidate")
        self.entropy = histogram("entropy_bits", "Entropy of the router's probabilities", _ENTROPY_BUCKETS)
        self.drift = gauge("drift", "Total variation between the export's mix and the latest, 0 to 1", "mix")
        self.open_breakers = gauge("upstream_circuit_open", "1 while the circuit breaker is open", "candidate")
        self.in_flight = gauge("requests_in_flight", "Requests that are being answered", merge="livesum")
        self.body_bytes = gauge("body_bytes", "Bytes of the bodies of those requests", merge="livesum")
        self.dropped_rows = counter("log_rows_dropped", "Rows of a log, and spans, that could not be written", "log")
        self.refusals = counter("refusals", "Requests refused because too many were in flight", "code")
        self.key_requests = counter("key_requests", "Requests admitted for a client's key", "key")
        self.key_refusals = counter("key_refusals", "Requests refused by a limit of a client's key", "key", "reason")
        self.key_dollars = counter("key_dollars", "Price of the tokens of a client's key", "key")
        self.key_reloads = counter("key_reloads", "Changes of the clients' keys", "result")
        self.reloads = counter("reloads", "New exports", "result")
        self.recent_defaults = gauge(
            "decision_default_share", "Share of the last 1,000 decisions that fell to the default candidate"
        )
        self._defaults: deque[bool] = deque(maxlen=DEFAULT_WINDOW)
        self._mixes: dict[str, tuple[Floats, Floats]] = {}

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format, those of all workers together. Takes milliseconds."""
        if self.memory.folder is None:
            return generate_latest(self.registry)
        merged = multiprocess.MultiProcessCollector(None, str(self.memory.folder))  # type: ignore[no-untyped-call]
        return generate_latest(merged)

    def set_reference(self, reference: Mapping[str, Any], names: tuple[str, ...], n_tags: int) -> None:
        """Measure drift from now on against an export's mix of choices and tags.

        Args:
            reference: contents of the export's `reference.json`. A mix that is missing or does not fit is not measured.
            names: the candidates, in column order.
            n_tags: number of the export's tags.
        """
        choices = np.array([float(reference.get("choices", {}).get(name, 0.0)) for name in names])
        tag_means = np.array(reference.get("probable_tags", []), dtype=np.float64)
        self._mixes = {}
        for mix, expected, size in (("choices", choices, len(names)), ("tags", tag_means, n_tags)):
            if len(expected) == size > 0 and expected.sum() > 0:
                self._mixes[mix] = (expected, expected.copy())
            self.drift.labels(mix).set(0.0 if mix in self._mixes else math.nan)

    def default_share(self) -> float:
        """Return the share of recent decisions that the router should have made and did not; 0 until there are 100."""
        return sum(self._defaults) / len(self._defaults) if len(self._defaults) >= MIN_DECISIONS else 0.0

    def record_default(self, reason: str) -> None:
        """Record a decision that fell to the default candidate.

        Args:
            reason: word of a `NoDecisionError`; "no text" is no fault of the router.
        """
        self.decision_defaults.labels(reason).inc()
        if reason != "no text":
            self._count_decision(lost=True)

    def record_backup(self, reason: str) -> None:
        """Record a decision by the export without a transformer.

        Args:
            reason: word of a `NoDecisionError`.
        """
        self.backup_decisions.labels(reason).inc()
        self._count_decision(lost=False)

    def record_decision(self, probs: Floats, tags: Floats) -> None:
        """Record the router's output for one text.

        Args:
            probs: (m,) probabilities over candidates.
            tags: (t,) probabilities over tags.
        """
        self._count_decision(lost=False)
        self.entropy.observe(float(-(probs * np.log2(np.maximum(probs, 1e-300))).sum()))
        one_hot = np.zeros(len(probs))
        one_hot[probs.argmax()] = 1.0
        for mix, now in (("choices", one_hot), ("tags", tags)):
            if mix in self._mixes and len(self._mixes[mix][1]) == len(now):
                average = self._mixes[mix][1]
                average += (now - average) / DRIFT_WINDOW
                self.drift.labels(mix).set(float(np.abs(average - self._mixes[mix][0]).sum() / 2.0))

    def _count_decision(self, lost: bool) -> None:
        self._defaults.append(lost)
        self.recent_defaults.set(self.default_share())

    def record_failure(self, candidate: str, kind: str, status: int | None) -> None:
        """Record a call that failed before its response began.

        Args:
            candidate: name of the candidate.
            kind: kind of an `UpstreamError`.
            status: HTTP status, for the kind "status".
        """
        self.errors.labels(candidate, f"status_{status}" if kind == "status" else kind).inc()

    def record_tokens(self, candidate: Candidate, tokens: tuple[int, int] | None) -> None:
        """Record the tokens of a response, and their price if the candidate has one.

        Args:
            candidate: the candidate that answered.
            tokens: numbers of input and output tokens; None if unknown, which records nothing.
        """
        if tokens is None:
            return
        for kind, count in zip(("input", "output"), tokens, strict=True):
            self.tokens.labels(candidate.name, kind).inc(count)
        cost = candidate.cost(*tokens)
        if cost is not None:
            self.price.labels(candidate.name).inc(cost)
