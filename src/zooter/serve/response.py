"""What a client is sent: a candidate's answer, whole or piece by piece, and who gave it and why."""

import asyncio
from dataclasses import dataclass

from zooter.serve.decision import RoutingDecision
from zooter.serve.http.auth import Send


class SlowClientError(Exception):
    """The client does not take what it is sent."""


@dataclass(frozen=True)
class ResponseSender:
    """Sends one answer.

    Attributes:
        slow_client: seconds for the client to take a piece.
    """

    send: Send
    slow_client: float

    async def whole(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, decision: RoutingDecision, name: str
    ) -> None:
        """All of it at once, as the candidate of this name gave it.

        Raises:
            SlowClientError: the client does not take it.
        """
        await self.start(status, [*headers, (b"content-length", str(len(body)).encode())], decision, name)
        await self.body(body, last=True)

    async def start(
        self, status: int, headers: list[tuple[bytes, bytes]], decision: RoutingDecision, name: str
    ) -> None:
        """Its status and headers."""
        ours = [
            (b"x-zooter-candidate", _header(name)),
            (b"x-zooter-why", _header(decision.why)),
            (b"x-zooter-decision-ms", b"%.2f" % (decision.seconds * 1e3)),
        ]
        await self.send({"type": "http.response.start", "status": status, "headers": headers + ours})

    async def body(self, body: bytes, last: bool = False) -> None:
        """A piece of it.

        Raises:
            SlowClientError: the client does not take it.
        """
        try:
            async with asyncio.timeout(self.slow_client):
                await self.send({"type": "http.response.body", "body": body, "more_body": not last})
        except TimeoutError as error:
            raise SlowClientError from error


def _header(name: str) -> bytes:
    """A candidate's name as a header's value: printable ASCII as it is, all else percent-encoded."""
    return "".join(c if " " <= c <= "~" else "".join(f"%{b:02X}" for b in c.encode()) for c in name).encode()
