"""What is counted, as Prometheus metrics: requests, choices, latencies, errors, tokens, price, entropy and drift."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from zooter.data.pool import Candidate
from zooter.data.types import Floats

DECAY = 1_000  # decisions that the mix of choices and tags is averaged over
_FAST = (0.001, 0.002, 0.004, 0.006, 0.01, 0.02, 0.04, 0.1, 0.2, 0.5, 1.0)
_SLOW = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
_BITS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)


@dataclass
class Metrics:
    """One server's metrics. Mixes are exponential averages that begin at the export's own: drift begins at 0."""

    registry: CollectorRegistry = field(default_factory=lambda: CollectorRegistry(auto_describe=True))

    def __post_init__(self) -> None:
        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"zooter_{name}", words, labels, registry=self.registry)

        def histogram(name: str, words: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"zooter_{name}", words, labels, registry=self.registry, buckets=buckets)

        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"zooter_{name}", words, labels, registry=self.registry)

        self.requests = counter("requests", "Requests answered", "route", "status")
        self.choices = counter("choices", "Candidates chosen by the router or for a conversation", "candidate", "why")
        self.decision = histogram("decision_seconds", "From a parsed request to its decision", _FAST)
        self.defaults = counter("decision_defaults", "Decisions that fell to the default candidate", "reason")
        self.began = histogram("upstream_first_byte_seconds", "Until an answer began", _SLOW, "candidate")
        self.ended = histogram("upstream_seconds", "Until an answer's end", _SLOW, "candidate")
        self.errors = counter("upstream_errors", "Calls that failed", "candidate", "kind")
        self.fallbacks = counter("fallbacks", "Requests answered by another candidate than the chosen one", "candidate")
        self.escalations = counter("escalations", "Further candidates asked by a selector", "selector")
        self.broken = counter("streams_broken", "Answers that broke off after they had begun", "candidate")
        self.gone = counter("clients_gone", "Clients that left before their answer's end, or read too slowly")
        self.tokens = counter("tokens", "Tokens, as candidates' servers told them", "candidate", "kind")
        self.price = counter("price_dollars", "Price of those tokens", "candidate")
        self.entropy = histogram("entropy_bits", "Entropy of the router's probabilities", _BITS)
        self.drift = gauge("drift", "Total variation between the export's mix and the latest, 0 to 1", "mix")
        self.out = gauge("upstream_out", "1 while a candidate is left alone after failures", "candidate")
        self.at_work = gauge("requests_at_work", "Requests that are being answered")
        self.reloads = counter("reloads", "New exports", "result")
        self._mixes: dict[str, tuple[Floats, Floats]] = {}

    def text(self) -> bytes:
        """Everything, in Prometheus's format."""
        return generate_latest(self.registry)

    def compare_with(self, reference: Mapping[str, Any], names: tuple[str, ...], tags: int) -> None:
        """Measure drift from now on against an export's `reference.json`."""
        choices = np.array([float(reference.get("choices", {}).get(name, 0.0)) for name in names])
        probable = np.array(reference.get("probable_tags", []), dtype=np.float64)
        self._mixes = {}
        self.drift.clear()
        for mix, told, size in (("choices", choices, len(names)), ("tags", probable, tags)):
            if len(told) == size > 0 and told.sum() > 0:
                self._mixes[mix] = (told, told.copy())
                self.drift.labels(mix).set_function(partial(self._drift, mix))

    def decided(self, probs: Floats, tags: Floats) -> None:
        """Note what the router says of one text: probabilities (m,) over candidates and (t,) over tags."""
        self.entropy.observe(float(-(probs * np.log2(np.maximum(probs, 1e-300))).sum()))
        one_hot = np.zeros(len(probs))
        one_hot[probs.argmax()] = 1.0
        for mix, now in (("choices", one_hot), ("tags", tags)):
            if mix in self._mixes and len(self._mixes[mix][1]) == len(now):
                average = self._mixes[mix][1]
                average += (now - average) / DECAY

    def _drift(self, mix: str) -> float:
        before, average = self._mixes[mix]
        return float(np.abs(average - before).sum() / 2.0)

    def upstream_began(self, candidate: str, seconds: float) -> None:
        """An answer has begun, so long after it was asked for."""
        self.began.labels(candidate).observe(seconds)

    def upstream_failed(self, candidate: str, kind: str, status: int | None) -> None:
        """A call failed before the client saw anything of it."""
        self.errors.labels(candidate, f"status_{status}" if kind == "status" else kind).inc()

    def used(self, candidate: Candidate, tokens: tuple[int, int] | None) -> None:
        """Tokens of an answer (input, output), and their price where it is known."""
        if tokens is None:
            return
        for kind, count in zip(("input", "output"), tokens, strict=True):
            self.tokens.labels(candidate.name, kind).inc(count)
        cost = candidate.cost(*tokens)
        if cost is not None:
            self.price.labels(candidate.name).inc(cost)
