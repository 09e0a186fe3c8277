"""From a conversation to the order in which candidates are asked, and why."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zooter.data.types import Floats
from zooter.serve import affinity
from zooter.serve.batcher import NoDecisionError
from zooter.serve.http.chat_request import ChatRequest
from zooter.serve.metrics import Metrics
from zooter.serve.service import Service
from zooter.serve.settings import ServeSettings


@dataclass(frozen=True)
class RoutingDecision:
    """Who is to be asked.

    Attributes:
        order: names, the chosen one first; the others by probability.
        why: "best", "next best" (the best has no url), "stays" (with the conversation), "asked for" by name, "default",
            or, once who was chosen has failed, "fallback".
        fault: why there is no decision, where the default candidate answers: "deadline", "failed", "crowded" or
            "no text".
        seconds: that the decision took.
        probs: (m,) and tags (t,): what the router says of the text; None where it said nothing.
        key: by which the conversation is known again; None where it is not to be kept.
    """

    order: tuple[str, ...]
    why: str
    seconds: float = 0.0
    fault: str | None = None
    probs: Floats | None = None
    tags: Floats | None = None
    key: bytes | None = None


@dataclass(frozen=True)
class DecisionPolicy:
    """Decides for conversations, and remembers who answered them."""

    settings: ServeSettings
    account: Metrics
    memory: affinity.SessionAffinity

    async def choose(self, chat: ChatRequest, service: Service, client: bytes) -> RoutingDecision:
        """The decision for a conversation of a client (its key's fingerprint and its own name for the conversation)."""
        start = time.perf_counter()
        texts = self._texts(chat)
        try:
            if not texts:
                raise NoDecisionError("no text")
            probs, tags = await service.decider.look(texts)
        except NoDecisionError as error:
            self.account.defaults.labels(str(error)).inc()
            return self._default(service, str(error), time.perf_counter() - start)
        column, why, key = self._stay(chat, service, client, probs)
        self.account.decided(probs[-1], tags[-1])
        seconds = time.perf_counter() - start
        self.account.decision.observe(seconds)
        order = _order(column, probs[-1], service)
        if order[0] != service.pool.names[column]:
            why = "next best"
        return RoutingDecision(order, why, seconds, probs=probs[-1], tags=tags[-1], key=key)

    def answered(self, decision: RoutingDecision, candidate: str) -> RoutingDecision:
        """Note who has begun to answer, and return the decision as it has turned out."""
        if decision.key is not None:
            self.memory.keep(decision.key, candidate)
        if decision.order[0] == candidate:
            return decision
        self.account.fallbacks.labels(decision.order[0]).inc()
        return replace(decision, why="fallback")

    def _texts(self, chat: ChatRequest) -> list[str]:
        if self.settings.sticky == "replay" and self.settings.reads == "last":
            return affinity.turns(chat.texts, self.settings.turns)
        return query_texts(chat.texts, self.settings.reads)

    def _stay(self, chat: ChatRequest, service: Service, client: bytes, probs: Floats) -> tuple[int, str, bytes | None]:
        """The chosen column, why, and the conversation's key."""
        best = int(probs[-1].argmax())
        key: bytes | None = None
        column = best
        if self.settings.sticky == "replay":
            column = affinity.replay(probs, self.settings.sure)
        elif self.settings.sticky == "memory":
            key = hashlib.blake2b(client + chat.opening(), digest_size=16).digest()
            # Two conversations may open alike; one that nobody has answered in yet is new.
            name = self.memory.recall(key) if chat.continued() else None
            before = service.pool.names.index(name) if name in service.pool.names else None
            column = affinity.stay(probs[-1], before, self.settings.sure)
        return column, "best" if column == best else "stays", key

    def _default(self, service: Service, fault: str, seconds: float) -> RoutingDecision:
        others = [name for name in service.pool.names if name != service.default]
        chosen = service.reference.get("choices", {})
        others.sort(key=lambda name: -float(chosen.get(name, 0.0)))
        order = tuple(name for name in (service.default, *others) if not service.upstreams or name in service.upstreams)
        return RoutingDecision(order, "default", seconds, fault=fault)


def query_texts(texts: Sequence[str], which: str) -> list[str]:
    """The text that decides, in a list of its own; an empty list where there is none."""
    if not texts:
        return []
    return [{"first": texts[0], "last": texts[-1]}.get(which) or "\n".join(texts)]


def _order(column: int, probs: Floats, service: Service) -> tuple[str, ...]:
    """The chosen column first, then by probability; only candidates that can be asked, if any can."""
    ranked = [column, *(int(j) for j in np.argsort(-probs, kind="stable") if j != column)]
    names = [service.pool.names[j] for j in ranked]
    return tuple(name for name in names if not service.upstreams or name in service.upstreams)
