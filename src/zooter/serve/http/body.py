"""Receive requests' bodies: limits on their size, time and number."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from zooter.serve.http.auth import Receive
from zooter.serve.http.body_parser import BodyParser
from zooter.serve.http.errors import ApiError
from zooter.serve.metrics import Metrics
from zooter.serve.settings import ServeSettings

SMALL_BODY = 2**16  # bytes; larger bodies may hold half of the memory, so that they never displace smaller ones


class ClientDisconnectedError(Exception):
    """The client has disconnected."""


@dataclass
class BodyReader:
    """Receive bodies within the limits of the settings.

    Attributes:
        settings: settings with the limits.
        metrics: metrics of the server.
        parser: parses what has been received.
    """

    settings: ServeSettings
    metrics: Metrics
    parser: BodyParser = field(default_factory=BodyParser, init=False)
    _held_bytes: int = field(default=0, init=False)
    _answered: int = field(default=0, init=False)  # requests whose body is complete
    _of_key: Counter[bytes] = field(default_factory=Counter, init=False)

    @asynccontextmanager
    async def receive(self, headers: Mapping[bytes, bytes], receive: Receive, key: bytes) -> AsyncIterator[bytes]:
        """Receive a body, and hold its memory and the request's place among those in flight until the context ends.

        Args:
            headers: headers of the request.
            receive: ASGI's receive.
            key: SHA-256 of the client's key; empty without keys.

        Yields:
            The whole body.

        Raises:
            ApiError: 413, it is too large; 408, it arrives too slowly; 429 or 503, too many are in flight.
            ClientDisconnectedError: the client disconnected before it had sent all of it.
        """
        buffer = bytearray()
        limit = self.settings.max_concurrent_per_key
        if key and limit is not None and self._of_key[key] >= limit:
            raise self._overloaded(429, "expected fewer requests at once with this key", "rate_limit_exceeded")
        self._of_key[key] += 1
        in_flight = False
        try:
            await self._read(headers, receive, buffer)
            if self._answered >= self.settings.max_concurrent_requests:
                raise self._overloaded(503, "expected fewer requests at once", "overloaded", unread=False)
            self._answered, in_flight = self._answered + 1, True
            # A copy of a long one would stall the event loop; whoever reads it takes either type.
            yield bytes(buffer) if len(buffer) <= SMALL_BODY else buffer  # type: ignore[misc]
        finally:
            self._answered -= in_flight
            self._hold(-len(buffer))
            self._of_key[key] -= 1
            if not self._of_key[key]:
                del self._of_key[key]

    async def _read(self, headers: Mapping[bytes, bytes], receive: Receive, buffer: bytearray) -> None:
        """Append a body's pieces as they arrive."""
        length = headers.get(b"content-length", b"0")
        self._check(int(length) if length.isdigit() else 0)
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnectedError
                    piece = message.get("body", b"")
                    buffer += piece
                    self._hold(len(piece))
                    self._check(len(buffer))
                    if not message.get("more_body", False):
                        return
        except TimeoutError as error:
            expected = f"expected the whole body within {self.settings.body_seconds:g} s"
            raise ApiError(408, expected, "invalid_request_error", body_unread=True) from error

    def _check(self, size: int) -> None:
        settings = self.settings
        if size > settings.largest_body:
            message = f"expected a body of at most {settings.largest_body} bytes"
            raise ApiError(413, message, "invalid_request_error", body_unread=True)
        if self._held_bytes > (settings.bodies_bytes // 2 if size > SMALL_BODY else settings.bodies_bytes):
            raise self._overloaded(503, "expected fewer long requests at once", "overloaded")

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        self.metrics.body_bytes.set(self._held_bytes)

    def _overloaded(self, status: int, message: str, code: str, unread: bool = True) -> ApiError:
        self.metrics.refusals.labels(code).inc()
        return ApiError(status, message, "server_error", code, retry_after=1, body_unread=unread)
