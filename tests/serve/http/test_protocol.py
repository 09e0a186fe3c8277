"""The transport that joins writes."""

import asyncio
from dataclasses import dataclass, field

from zooter.serve.http.protocol import CoalescingTransport


@dataclass
class RecordingTransport(asyncio.Transport):
    """Records writes, close and abort, in order."""

    done: list[bytes | str] = field(default_factory=list)

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def abort(self) -> None:
        self.done.append("aborted")

    def is_closing(self) -> bool:
        return "closed" in self.done or "aborted" in self.done


async def next_iteration() -> None:
    """Wait for the next iteration of the event loop."""
    await asyncio.sleep(0)


def test_writes_of_one_iteration_are_sent_in_one_piece() -> None:
    async def sent_pieces() -> list[bytes | str]:
        transport = RecordingTransport()
        coalescing = CoalescingTransport(transport, asyncio.get_running_loop())
        coalescing.write(b"head ")
        coalescing.write(b"body")
        await next_iteration()
        coalescing.write(b"event")
        await next_iteration()
        return transport.done

    assert asyncio.run(sent_pieces()) == [b"head body", b"event"]


def test_buffered_writes_are_sent_before_closing_and_none_after_it() -> None:
    async def sent_pieces(end: str) -> list[bytes | str]:
        transport = RecordingTransport()
        coalescing = CoalescingTransport(transport, asyncio.get_running_loop())
        coalescing.write(b"last words")
        getattr(coalescing, end)()
        coalescing.write(b"too late")
        await next_iteration()
        return transport.done

    assert asyncio.run(sent_pieces("close")) == [b"last words", "closed"]
    assert asyncio.run(sent_pieces("abort")) == ["aborted"]
