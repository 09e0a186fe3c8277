"""A responder whose every answer a test writes."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.pool import Candidate
from zooter.data.types import Response


@dataclass
class FakeResponder:
    """Answers with `answer(text)`, last request first; an answer that is an exception is a failed call."""

    answer: Callable[[str], str | Exception]
    sampling: Sampling = field(default_factory=Sampling)
    asked: list[str] = field(default_factory=list)

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {"responder": "fake", "model": candidate.model or candidate.name}

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        for request in reversed(requests):
            self.asked.append(request.query.text)
            found = self.answer(request.query.text)
            failed = isinstance(found, Exception)
            yield Response(
                request.query.id, request.candidate.name, request.sample,
                "" if failed else str(found), error=str(found) if failed else None,
            )  # fmt: skip
