"""A chat server with scripted replies: also malformed, truncated or missing ones."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """An HTTP reply.

    Attributes:
        body: as it is sent.
        status: HTTP status code.
        headers: added to the usual ones.
        delay: seconds before the reply.
        cut: bytes of the body after which the connection is closed; None sends all.
        drip: seconds per byte.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    drip: float = 0.0


def chat(text: str | None, finish_reason: str = "stop", **options: Any) -> Reply:
    """Return a well-formed chat completion; keywords are `logprobs`, `usage` and `delay`."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    choice |= {"logprobs": options["logprobs"]} if "logprobs" in options else {}
    usage = options.get("usage", {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    return Reply(json.dumps(body).encode(), delay=options.get("delay", 0.0))


def error_reply(status: int, message: str, code: str | None = None, param: str | None = None, **headers: str) -> Reply:
    """Return an error in OpenAI's format."""
    error = {"message": message, "type": "error", "code": code, "param": param}
    header_lines = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps({"error": error}).encode(), status, header_lines)


Answer = Callable[[dict[str, Any], int], Reply]
"""Maps a call's body and its number, from 0, to the reply."""


@dataclass
class Server:
    """A running server: its address and the requests that it received.

    Attributes:
        url: ends in /v1.
        bodies: JSON of each request.
        headers: lower-case headers of each request.
        times: event-loop time of each request, in seconds.
        connections: number of connections so far.
        concurrent: requests in progress.
        max_concurrent: largest number of requests in progress so far.
    """

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    connections: int = 0
    concurrent: int = 0
    max_concurrent: int = 0


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    """Run a server in a thread, on a free port of this machine."""
    server = Server()
    loop = asyncio.new_event_loop()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while await _handle_request(reader, writer, answer, server):
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


async def _handle_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer, server: Server
) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n")[1:])}
    body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
    number = len(server.bodies)
    server.bodies.append(body)
    server.headers.append(headers)
    server.times.append(asyncio.get_running_loop().time())
    server.concurrent += 1
    server.max_concurrent = max(server.max_concurrent, server.concurrent)
    try:
        reply = answer(body, number)
        await asyncio.sleep(reply.delay)
    finally:
        server.concurrent -= 1
    reply_headers = {"content-type": "application/json", "content-length": str(len(reply.body)), **reply.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in reply_headers.items())
    body_bytes = reply.body if reply.cut is None else reply.body[: reply.cut]
    writer.write(f"HTTP/1.1 {reply.status} OK\r\n{lines}\r\n".encode())
    for i in range(len(body_bytes) if reply.drip else 0):
        writer.write(body_bytes[i : i + 1])
        await asyncio.sleep(reply.drip)
    writer.write(b"" if reply.drip else body_bytes)
    await writer.drain()
    if reply.cut is not None:
        writer.transport.abort()
    return reply.cut is None
