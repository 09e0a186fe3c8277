"""Decide which candidates are asked for a conversation, in which order, and why."""

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from zooter.data.types import Floats
from zooter.serve import affinity
from zooter.serve.batcher import NoDecisionError
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.metrics import MAX_DEFAULT_SHARE, Metrics
from zooter.serve.routing_decision import RoutingDecision
from zooter.serve.service import Service
from zooter.serve.settings import ServeSettings
from zooter.serve.throttled_warning import ThrottledWarning

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecisionPolicy:
    """Decide for conversations, and remember which candidate answered them."""

    settings: ServeSettings
    metrics: Metrics
    sessions: affinity.SessionAffinity
    warning: ThrottledWarning = field(default_factory=lambda: ThrottledWarning(log))
    backup_warning: ThrottledWarning = field(default_factory=lambda: ThrottledWarning(log))

    async def decide(self, chat: ChatRequest, service: Service, client: bytes) -> RoutingDecision:
        """Decide for a conversation: by the router, else by the backup, else for the default candidate.

        Args:
            chat: the request.
            service: router and candidates to decide with.
            client: fingerprint of the client's key and the client's own name for the conversation.
        """
        start = time.perf_counter()
        texts = self._texts(chat)
        key, previous = self._conversation(chat, client, service)
        stays = chat.returns_tool_results  # another candidate does not know the calls that it made
        margin = math.inf if stays else self.settings.switch_margin
        fault: str | None = None
        probs: Floats | None
        tags: Floats | None = None
        try:
            if not texts:
                raise NoDecisionError("no text")
            probs, tags = await service.batcher.route_with_tags(texts)
        except NoDecisionError as error:
            fault = str(error)
            probs = self._route_by_backup(service, texts)
            if probs is None:
                self._count_default(fault)
                return self._default(service, fault, time.perf_counter() - start, key, previous if stays else None)
            self.metrics.record_backup(fault)
        column, why = self._column(service, probs, previous, margin)
        if tags is not None:
            self.metrics.record_decision(probs[-1], tags[-1])
        elif why == "best":
            why = "backup"
        seconds = time.perf_counter() - start
        self.metrics.decision_seconds.observe(seconds)
        order = _order(column, probs[-1], service)
        if order[0] != service.pool.names[column]:
            why = "next best"
        last_tags = None if tags is None else tags[-1]
        return RoutingDecision(order, why, seconds, fault=fault, probs=probs[-1], tags=last_tags, key=key)

    def record_answer(self, decision: RoutingDecision, candidate: str) -> RoutingDecision:
        """Remember the candidate that has begun to answer.

        Args:
            decision: made for the request.
            candidate: the one that answers.

        Returns:
            The decision, with `why` "fallback" if another candidate than the chosen one answers.
        """
        if decision.key is not None:
            self.sessions.set(decision.key, candidate)
        if decision.order[0] == candidate:
            return decision
        self.metrics.fallbacks.labels(decision.order[0]).inc()
        return replace(decision, why="fallback")

    def _route_by_backup(self, service: Service, texts: Sequence[str]) -> Floats | None:
        """Return the backup's probabilities (k, m); it takes a fraction of a millisecond, and no thread."""
        if service.backup is None or not texts:
            return None
        try:
            return service.backup.route(texts).probs
        except Exception as error:  # noqa: BLE001 - whatever it is, the default candidate answers, and is counted
            self.backup_warning.warn("the backup gave no decision: %s: %s", type(error).__name__, error)
            return None

    def _count_default(self, reason: str) -> None:
        self.metrics.record_default(reason)
        if (share := self.metrics.default_share()) > MAX_DEFAULT_SHARE:
            self.warning.warn("%.1f %% of recent decisions fell to the default candidate: %s", 100 * share, reason)

    def _texts(self, chat: ChatRequest) -> list[str]:
        if self.settings.sticky == "replay" and self.settings.query_from == "last":
            return affinity.select_turns(affinity.with_context(chat.texts), self.settings.turns)
        return query_texts(chat.texts, self.settings.query_from)

    def _conversation(self, chat: ChatRequest, client: bytes, service: Service) -> tuple[bytes | None, str | None]:
        """Return the conversation's key and the candidate that answered it last; None where they are not remembered."""
        if self.settings.sticky != "memory":
            return None, None
        key = hashlib.blake2b(client + chat.opening_hash, digest_size=16).digest()
        # Two conversations may open alike; one without an assistant's message is new.
        return key, self.sessions.get(key, service.pool.names) if chat.is_continued else None

    def _column(self, service: Service, probs: Floats, previous: str | None, margin: float) -> tuple[int, str]:
        """Return the chosen column and the reason."""
        best = int(probs[-1].argmax())
        if self.settings.sticky == "replay":
            column = affinity.replay(probs, self.settings.switch_margin)
        else:
            last = service.pool.names.index(previous) if previous in service.pool.names else None
            column = affinity.stay_or_switch(probs[-1], last, margin)
        return column, "best" if column == best else "stays"

    def _default(
        self, service: Service, fault: str, seconds: float, key: bytes | None, previous: str | None
    ) -> RoutingDecision:
        """Decide for the default candidate, or for the previous one of a conversation that must stay with it."""
        choices = service.reference.get("choices", {})
        names = sorted(service.pool.names, key=lambda name: -float(choices.get(name, 0.0)))
        names.sort(key=lambda name: (name != previous, name != service.default))
        order = tuple(name for name in names if name in service.eligible)
        why = "stays" if order[:1] == (previous,) else "default"
        return RoutingDecision(order, why, seconds, fault=fault, key=key)


def query_texts(texts: Sequence[str], query_from: str) -> list[str]:
    """Return the text to route as a list of one; an empty list if there is no text.

    Args:
        texts: the user's texts, in order.
        query_from: "first"; "last", with the text before it where it is a short follow-up such as "continue"; or
            "all", which joins them with newlines.
    """
    if not texts:
        return []
    if query_from == "last":
        return affinity.with_context(texts)[-1:]
    return [texts[0] if query_from == "first" else "\n".join(texts)]


def _order(column: int, probs: Floats, service: Service) -> tuple[str, ...]:
    """Return the chosen column, then the others by probability; eligible candidates only."""
    ranking = [column, *(int(j) for j in np.argsort(-probs, kind="stable") if j != column)]
    names = [service.pool.names[j] for j in ranking]
    return tuple(name for name in names if name in service.eligible)
