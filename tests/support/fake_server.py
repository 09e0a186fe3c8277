"""A chat server whose every reply a test writes: also broken ones, cut ones, and none at all."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One HTTP reply.

    `cut` closes the connection after so many bytes of the body; `delay` is in seconds, `drip` in seconds per byte.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    drip: float = 0.0


def chat(text: str | None, finish_reason: str = "stop", **more: Any) -> Reply:
    """A well-formed answer; `logprobs` goes into the choice, `usage` and `delay` where they belong."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    choice |= {"logprobs": more["logprobs"]} if "logprobs" in more else {}
    usage = more.get("usage", {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    return Reply(json.dumps(body).encode(), delay=more.get("delay", 0.0))


def complaint(status: int, message: str, code: str | None = None, param: str | None = None, **headers: str) -> Reply:
    """An error as OpenAI words it."""
    error = {"message": message, "type": "error", "code": code, "param": param}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps({"error": error}).encode(), status, named)


Answer = Callable[[dict[str, Any], int], Reply]
"""From a call's body and its number among all calls, from 0."""


@dataclass
class Server:
    """What a test asks of a running server: where it is, and what it was sent."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    """A server in a thread of its own, on a free port of this machine."""
    server = Server()
    loop = asyncio.new_event_loop()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while await _one(reader, writer, answer, server):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512, limit=2**24)

    listening = loop.run_until_complete(start())
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.call_later, 0.01, loop.stop)
        thread.join(5)


async def _one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer, server: Server) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n")[1:])}
    body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
    number = len(server.bodies)
    server.bodies.append(body)
    server.headers.append(headers)
    server.times.append(asyncio.get_running_loop().time())
    server.at_once += 1
    server.most_at_once = max(server.most_at_once, server.at_once)
    try:
        reply = answer(body, number)
        await asyncio.sleep(reply.delay)
    finally:
        server.at_once -= 1
    kind = {"content-type": "application/json", "content-length": str(len(reply.body)), **reply.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in kind.items())
    sent = reply.body if reply.cut is None else reply.body[: reply.cut]
    writer.write(f"HTTP/1.1 {reply.status} OK\r\n{lines}\r\n".encode())
    for i in range(len(sent) if reply.drip else 0):
        writer.write(sent[i : i + 1])
        await asyncio.sleep(reply.drip)
    writer.write(b"" if reply.drip else sent)
    await writer.drain()
    if reply.cut is not None:
        writer.transport.abort()
    return reply.cut is None
