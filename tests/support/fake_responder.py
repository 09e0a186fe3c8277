"""A responder with scripted answers."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.pool import Candidate
from zooter.data.types import Response


@dataclass
class FakeResponder:
    """Answer each request with `answer(text)`, the last request first.

    Attributes:
        answer: maps a query's text to the response's; an exception makes the call fail.
        sampling: as of any responder.
        asked: texts of the requests so far.
    """

    answer: Callable[[str], str | Exception]
    sampling: Sampling = field(default_factory=Sampling)
    asked: list[str] = field(default_factory=list)

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {"responder": "fake", "model": candidate.model or candidate.name}

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        for request in reversed(requests):
            self.asked.append(request.query.text)
            answer = self.answer(request.query.text)
            failed = isinstance(answer, Exception)
            yield Response(
                request.query.id, request.candidate.name, request.sample,
                "" if failed else str(answer), error=str(answer) if failed else None,
            )  # fmt: skip
