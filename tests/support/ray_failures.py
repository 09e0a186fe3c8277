"""A responder whose calls fail, for the limit on failures in a cluster."""

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from support.ray_faults import EchoResponder

from zooter.collect.responder.protocol import Request
from zooter.data.types import Response


@dataclass(frozen=True)
class FailingResponder(EchoResponder):
    """Fail every second call."""

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        for i, request in enumerate(requests):
            time.sleep(self.seconds)
            error = "broken" if i % 2 else None
            yield Response(request.query.id, request.candidate.name, request.sample, "fine", error=error)
