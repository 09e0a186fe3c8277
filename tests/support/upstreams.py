"""Candidates' servers that behave as a test says: well, badly, or not at all; and our own server in front of them."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from support import fake_router

from zooter.serve import server
from zooter.serve.service import Load
from zooter.serve.settings import ServeSettings

Behave = Callable[[dict[str, Any], "Upstream", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Upstream:
    """What a candidate's server was sent.

    Attributes:
        bodies, raw: each request's JSON and its bytes.
        hung_up: how often our side closed the connection before the answer's end.
    """

    name: str
    behave: Behave
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    hung_up: int = 0


def reply(text: str, **more: Any) -> bytes:
    """A whole chat completion."""
    message = {"role": "assistant", "content": text, **more}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    told = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(told).encode()


def event(text: str, **more: Any) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    told = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def http(body: bytes, status: int = 200, **headers: str) -> bytes:
    """A whole HTTP answer."""
    named = {"content-type": "application/json", "content-length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def well(body: dict[str, Any], upstream: Upstream, writer: asyncio.StreamWriter) -> None:
    """Answers with its own name, as a stream of two pieces where that is wanted."""
    if not body.get("stream"):
        writer.write(http(reply(f"I am {upstream.name}")))
        return
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    writer.write(STREAM_HEAD)
    for piece in (event("I am "), event(upstream.name), event("", usage=usage), b"data: [DONE]\n\n"):
        writer.write(chunk(piece))
        await writer.drain()
        await asyncio.sleep(0.005)
    writer.write(b"0\r\n\r\n")


def says(data: bytes, cut: bool = False) -> Behave:
    """Writes these bytes; `cut` resets the connection after them."""

    async def behave(body: dict[str, Any], upstream: Upstream, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if cut:
            await asyncio.sleep(0.05)
            writer.transport.abort()

    return behave


async def hang(body: dict[str, Any], upstream: Upstream, writer: asyncio.StreamWriter) -> None:
    """Never answers, and notes when our side hangs up."""
    await asyncio.sleep(60)


@contextmanager
def serving(name: str, behave: Behave) -> Iterator[Upstream]:
    """One candidate's server, in a thread of its own."""
    upstream = Upstream(name, behave)
    loop = asyncio.new_event_loop()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next(
                    int(x.split(":")[1]) for x in head.lower().split("\r\n") if x.startswith("content-length")
                )
                raw = await reader.readexactly(length)
                upstream.heads.append(head)
                upstream.raw.append(raw)
                upstream.bodies.append(json.loads(raw))
                answering = asyncio.ensure_future(upstream.behave(upstream.bodies[-1], upstream, writer))
                while not answering.done():
                    await asyncio.wait((answering,), timeout=0.02)
                    if not answering.done() and (reader.at_eof() or reader.exception()):
                        upstream.hung_up += 1
                        answering.cancel()
                        return
                if isinstance(answering.exception(), ConnectionError):
                    upstream.hung_up += 1
                answering.result()
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side left, or the test is over
        finally:
            writer.close()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512, limit=2**26)

    listening = loop.run_until_complete(start())
    upstream.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.call_later, 0.02, loop.stop)
        thread.join(5)


@dataclass
class Front:
    """Our server, running.

    Attributes:
        up: candidate → its server.
        settings: as they were given.
    """

    url: str
    up: dict[str, Upstream]
    settings: ServeSettings
    door: Any
    client: httpx.Client

    def chat(self, text: str = "hello", **more: Any) -> httpx.Response:
        """One chat request."""
        body = {"model": "zooter", "messages": [{"role": "user", "content": text}], **more}
        return self.client.post("/v1/chat/completions", json=body)

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric now; 0 where it has none yet."""
        return self.door.account.registry.get_sample_value(f"zooter_{name}", labels) or 0.0


@contextmanager
def in_front(
    folder: Path, behaves: dict[str, Behave | None] | None = None, timeout: float = 0.5, **given: Any
) -> Iterator[Front]:
    """Our server with a fake router, in front of servers for "small", "large" and "tiny" (None: nothing listens)."""
    wanted: dict[str, Behave | None] = {**dict.fromkeys(fake_router.NAMES, well), **(behaves or {})}
    export = folder / "export"
    fake_router.write(export)
    with ExitStack() as stack:
        up = {name: stack.enter_context(serving(name, behave)) for name, behave in wanted.items() if behave}
        urls = {name: up[name].url if name in up else f"http://127.0.0.1:{free_port()}/v1" for name in wanted}
        pool = {
            "candidates": {name: {"url": url, "model": f"{name}-v1", "timeout": timeout} for name, url in urls.items()}
        }
        if "pool_file" not in given:
            (folder / "pool.yaml").write_text(yaml.safe_dump(pool))
        settings = ServeSettings(
            **{
                "export": export,
                "pool_file": folder / "pool.yaml",
                "port": 0,
                "access_log": None,
                "deadline": 5.0,
                **given,
            }
        )
        front = stack.enter_context(running(settings, fake_router.load))
        front.up.update(up)
        yield front


@contextmanager
def running(settings: ServeSettings, load: Load) -> Iterator[Front]:
    """Our server, in a thread of its own."""
    uvicorn_server = uvicorn.Server(server.config(settings, load))
    thread = threading.Thread(target=uvicorn_server.run, daemon=True)
    thread.start()
    until(lambda: uvicorn_server.started or not thread.is_alive(), 60)
    port = uvicorn_server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        try:
            yield Front(f"http://127.0.0.1:{port}", {}, settings, uvicorn_server.config.app, client)
        finally:
            uvicorn_server.should_exit = True
            thread.join(10)


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
