"""Send a candidate's response to a client, whole or piece by piece, with headers about the decision."""

import asyncio
from dataclasses import dataclass

from zooter.serve.http.auth import Send
from zooter.serve.routing_decision import RoutingDecision


class SlowClientError(Exception):
    """The client does not take what it is sent in time."""


@dataclass(frozen=True)
class ResponseSender:
    """Send one response.

    Attributes:
        send: ASGI's send.
        slow_client: seconds for the client to take a piece.
    """

    send: Send
    slow_client: float

    async def send_whole(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, decision: RoutingDecision, candidate: str
    ) -> None:
        """Send a complete response.

        Args:
            status: HTTP status.
            headers: headers beside those about the decision and the body's length.
            body: the body.
            decision: the decision that led to the response.
            candidate: name of the candidate that answered.

        Raises:
            SlowClientError: the client does not take it in time.
        """
        await self.start(status, [*headers, (b"content-length", str(len(body)).encode())], decision, candidate)
        await self.send_body(body, last=True)

    async def start(
        self, status: int, headers: list[tuple[bytes, bytes]], decision: RoutingDecision, candidate: str
    ) -> None:
        """Send status and headers; arguments as of `send_whole`."""
        decision_headers = [
            (b"x-zooter-candidate", _header(candidate)),
            (b"x-zooter-why", _header(decision.why)),
            (b"x-zooter-decision-ms", b"%.2f" % (decision.seconds * 1e3)),
        ]
        await self.send({"type": "http.response.start", "status": status, "headers": headers + decision_headers})

    async def send_body(self, body: bytes, last: bool = False) -> None:
        """Send a piece of the body.

        Args:
            body: the piece.
            last: whether the body ends with it.

        Raises:
            SlowClientError: the client does not take it in time.
        """
        try:
            async with asyncio.timeout(self.slow_client):
                await self.send({"type": "http.response.body", "body": body, "more_body": not last})
        except TimeoutError as error:
            raise SlowClientError from error


def _header(text: str) -> bytes:
    """Encode text as a header's value: printable ASCII as it is, all else percent-encoded."""
    return "".join(c if " " <= c <= "~" else "".join(f"%{b:02X}" for b in c.encode()) for c in text).encode()
