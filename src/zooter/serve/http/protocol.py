"""uvicorn's HTTP protocol with what it leaves out: limits on a request's head, hanging up, and fewer packets."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ABORT = "zooter.abort"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def protocol(largest_head: int, head_seconds: float) -> type[HttpToolsProtocol]:
    """A protocol class with these limits: bytes of a request's line and headers, and seconds to send them."""
    return type("Limited", (_Limited,), {"largest_head": largest_head, "head_seconds": head_seconds})


class CoalescingTransport:
    """A transport that sends what is written in one turn of the event loop in one piece.

    An answer's head and body then wake their reader once instead of twice, and wait for the CPU once.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it at the end of this turn."""
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)

    def close(self) -> None:
        """Send what is written, then hang up."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))


class _Limited(HttpToolsProtocol):
    largest_head: int
    head_seconds: float
    _head = 0  # bytes of the head that have been understood
    _raw = 0  # bytes that have come since it began
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(CoalescingTransport(transport, self.loop))  # type: ignore[arg-type]
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._raw += len(data)
        super().data_received(data)
        # A header without an end is kept in the parser and never told.
        if self._timer is not None and self._raw > self.largest_head and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        if self._timer is None:
            self._begin_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._end_head()
        if self._head <= self.largest_head and not self.transport.is_closing():
            self.scope["extensions"] = {ABORT: self.transport.abort}  # type: ignore[dict-item]
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None and not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.cycle is not None and not self.transport.is_closing():
            super().on_message_complete()

    def _count(self, size: int) -> None:
        before, self._head = self._head, self._head + size
        if before <= self.largest_head < self._head:
            self._refuse()

    def _refuse(self) -> None:
        self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _begin_head(self) -> None:
        self._raw = 0
        self._timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _end_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
