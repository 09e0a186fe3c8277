"""What every responder does, and how candidates are asked."""

import hashlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from zooter.data.pool import Candidate
from zooter.data.types import Query, Response
from zooter.errors import ConfigError


@dataclass(frozen=True)
class Request:
    """One call to make: the `sample`-th response of a candidate to a query."""

    query: Query
    candidate: Candidate
    sample: int = 0


@dataclass(frozen=True)
class Sampling:
    """How candidates are asked; all of it is part of a response's content key.

    Attributes:
        temperature: 0 is greedy; None leaves it to the server (some models refuse the parameter).
        top_p: share of the probability mass that is drawn from.
        max_new_tokens: longest response.
        stop: texts at which a response ends; they are not part of it.
        system: the system message; None for none.
        message: the user's message, with `{query}` in it.
        seed: of the draws; None leaves them to the server.
        labels: where the answer is one of a few labels, `margin` and `first_tokens` are of their first tokens.
    """

    temperature: float | None = 0.7
    top_p: float = 1.0
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()
    system: str | None = None
    message: str = "{query}"
    seed: int | None = 0
    labels: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        # Lists come from YAML; tuples keep the class hashable.
        object.__setattr__(self, "stop", tuple(self.stop))
        object.__setattr__(self, "labels", tuple(self.labels))
        rules = {
            "temperature of 0 or more, or null": self.temperature is None or self.temperature >= 0,
            "top_p above 0 and up to 1": 0 < self.top_p <= 1,
            "max_new_tokens of 1 or more": self.max_new_tokens >= 1,
            "message with {query} in it": "{query}" in self.message,
            "no empty text in stop": all(self.stop),
            "two different labels or more, or none": not self.labels or 1 < len(set(self.labels)) == len(self.labels),
        }
        for rule, kept in rules.items():
            if not kept:
                raise ConfigError(
                    expected=f"sampling with {rule}", found=repr(self), do="correct it under responder.sampling"
                )

    def messages(self, query: Query) -> list[dict[str, str]]:
        """The chat that a candidate is given."""
        system = [{"role": "system", "content": self.system}] if self.system is not None else []
        return [*system, {"role": "user", "content": self.message.replace("{query}", query.text)}]

    def text(self, query: Query, template: str) -> str:
        """The whole text that a local model is given, by a candidate's own template."""
        filled = template.replace("{system}", self.system or "")
        return filled.replace("{query}", self.message.replace("{query}", query.text))

    def seed_of(self, query: Query, sample: int) -> int:
        """31 bits that depend on the seed, the query's text and the sample: a cell is drawn alike in any batch."""
        told = json.dumps([self.seed, query.text, sample]).encode()
        return int.from_bytes(hashlib.blake2b(told, digest_size=4).digest()) >> 1

    def told(self) -> dict[str, Any]:
        """All fields, JSON-ready."""
        return {**vars(self), "stop": list(self.stop), "labels": list(self.labels)}


class Responder(Protocol):
    """Lets candidates answer."""

    @property
    def sampling(self) -> Sampling:
        """How candidates are asked."""
        ...

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        """Everything that can change a response of this candidate, JSON-ready: it goes into the content keys.

        What cannot change one (address, key, timeout, batch size, concurrency, prices, the candidate's name) is out.
        """
        ...

    def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        """One response per request, in any order, as they finish.

        A call that fails gives a response with `error`; it never raises.

        Raises:
            ResponderError: no call can succeed: a wrong key, a model that does not exist.
            ConfigError: a candidate cannot be reached by its settings.
        """
        ...


@runtime_checkable
class KeepsConnections(Protocol):
    """A responder that can keep connections from one `respond` to the next."""

    def connections(self) -> AbstractAsyncContextManager[object]:
        """Keeps them until it is left."""
        ...
