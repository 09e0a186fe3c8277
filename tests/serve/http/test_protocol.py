"""What is written in one turn of the event loop goes out in one piece."""

import asyncio
from dataclasses import dataclass, field

from zooter.serve.http.protocol import CoalescingTransport


@dataclass
class Sent(asyncio.Transport):
    """Notes what is done with it, in order."""

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


async def turn() -> None:
    """Until everything that is due has been done."""
    await asyncio.sleep(0)


def test_an_answers_head_and_body_go_out_in_one_piece() -> None:
    async def found() -> list[bytes | str]:
        transport = Sent()
        joined = CoalescingTransport(transport, asyncio.get_running_loop())
        joined.write(b"head ")
        joined.write(b"body")
        await turn()
        joined.write(b"event")
        await turn()
        return transport.done

    assert asyncio.run(found()) == [b"head body", b"event"]


def test_what_is_written_goes_out_before_the_connection_is_closed_and_not_after() -> None:
    async def found(end: str) -> list[bytes | str]:
        transport = Sent()
        joined = CoalescingTransport(transport, asyncio.get_running_loop())
        joined.write(b"last words")
        getattr(joined, end)()
        joined.write(b"too late")
        await turn()
        return transport.done

    assert asyncio.run(found("close")) == [b"last words", "closed"]
    assert asyncio.run(found("abort")) == ["aborted"]
