"""Fake servers of candidates, with scripted behaviour, and zooter's server in front of them."""

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
from zooter.serve.service import RouterLoader
from zooter.serve.settings import ServeSettings

Behaviour = Callable[[dict[str, Any], "Upstream", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Upstream:
    """A candidate's server and the requests that it received.

    Attributes:
        behaviour: writes the response to a request.
        bodies: JSON of each request.
        raw: bytes of each request's body.
        heads: line and headers of each request.
        disconnects: how often zooter closed the connection before the response's end.
    """

    name: str
    behaviour: Behaviour
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    disconnects: int = 0


def completion_body(text: str, **more: Any) -> bytes:
    """Encode a whole chat completion."""
    message = {"role": "assistant", "content": text, **more}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    completion = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }
    return json.dumps(completion).encode()


def sse_event(text: str, **more: Any) -> bytes:
    """Encode one event of a stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    completion = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}
    return b"data: " + json.dumps(completion).encode() + b"\n\n"


def http_response(body: bytes, status: int = 200, **headers: str) -> bytes:
    """Encode a whole HTTP response."""
    named = {"content-type": "application/json", "content-length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Encode one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def respond_normally(body: dict[str, Any], upstream: Upstream, writer: asyncio.StreamWriter) -> None:
    """Answer with the server's name; as a stream of two texts if one is asked for."""
    if not body.get("stream"):
        writer.write(http_response(completion_body(f"I am {upstream.name}")))
        return
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    writer.write(STREAM_HEAD)
    for piece in (sse_event("I am "), sse_event(upstream.name), sse_event("", usage=usage), b"data: [DONE]\n\n"):
        writer.write(chunk(piece))
        await writer.drain()
        await asyncio.sleep(0.005)
    writer.write(b"0\r\n\r\n")


def respond_with(data: bytes, cut: bool = False) -> Behaviour:
    """Return a behaviour that writes these bytes; `cut` resets the connection after them."""

    async def behaviour(body: dict[str, Any], upstream: Upstream, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if cut:
            await asyncio.sleep(0.05)
            writer.transport.abort()

    return behaviour


async def hang(body: dict[str, Any], upstream: Upstream, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(60)


@contextmanager
def serve_upstream(name: str, behaviour: Behaviour) -> Iterator[Upstream]:
    """Run one candidate's server in a thread of its own."""
    upstream = Upstream(name, behaviour)
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
                answering = asyncio.ensure_future(upstream.behaviour(upstream.bodies[-1], upstream, writer))
                while not answering.done():
                    await asyncio.wait((answering,), timeout=0.02)
                    if not answering.done() and (reader.at_eof() or reader.exception()):
                        upstream.disconnects += 1
                        answering.cancel()
                        return
                if isinstance(answering.exception(), ConnectionError):
                    upstream.disconnects += 1
                answering.result()
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client disconnected, or the test is over
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
class RunningServer:
    """Zooter's server while it runs.

    Attributes:
        url: where it listens.
        upstreams: candidate → its server.
        settings: settings of the server.
        middleware: its ASGI application.
        client: HTTP client of the server.
    """

    url: str
    upstreams: dict[str, Upstream]
    settings: ServeSettings
    middleware: Any
    client: httpx.Client

    def chat(self, text: str = "hello", **more: Any) -> httpx.Response:
        """Send one chat request."""
        body = {"model": "zooter", "messages": [{"role": "user", "content": text}], **more}
        return self.client.post("/v1/chat/completions", json=body)

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a metric; 0 if it has none yet."""
        return self.middleware.metrics.registry.get_sample_value(f"zooter_{name}", labels) or 0.0


@contextmanager
def running_server(
    folder: Path,
    behaviours: dict[str, Behaviour | None] | None = None,
    timeout: float = 0.5,
    load: RouterLoader = fake_router.load,
    **overrides: Any,
) -> Iterator[RunningServer]:
    """Run zooter's server with a fake router and servers for "small", "large" and "tiny" (None: nothing listens)."""
    scripted: dict[str, Behaviour | None] = {**dict.fromkeys(fake_router.NAMES, respond_normally), **(behaviours or {})}
    export = folder / "export"
    fake_router.write(export)
    with ExitStack() as stack:
        up = {
            name: stack.enter_context(serve_upstream(name, behaviour))
            for name, behaviour in scripted.items()
            if behaviour
        }
        urls = {name: up[name].url if name in up else f"http://127.0.0.1:{free_port()}/v1" for name in scripted}
        pool = {
            "candidates": {name: {"url": url, "model": f"{name}-v1", "timeout": timeout} for name, url in urls.items()}
        }
        if "pool_file" not in overrides:
            (folder / "pool.yaml").write_text(yaml.safe_dump(pool))
        settings = ServeSettings(
            **{
                "export": export,
                "pool_file": folder / "pool.yaml",
                "port": 0,
                "access_log": None,
                "deadline": 5.0,
                **overrides,
            }
        )
        front = stack.enter_context(run_server(settings, load))
        front.upstreams.update(up)
        yield front


@contextmanager
def run_server(settings: ServeSettings, load: RouterLoader) -> Iterator[RunningServer]:
    """Run zooter's server in a thread of its own."""
    uvicorn_server = uvicorn.Server(server.uvicorn_config(settings, load))
    thread = threading.Thread(target=uvicorn_server.run, daemon=True)
    thread.start()
    wait_until(lambda: uvicorn_server.started or not thread.is_alive(), 60)
    port = uvicorn_server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        try:
            yield RunningServer(f"http://127.0.0.1:{port}", {}, settings, uvicorn_server.config.app, client)
        finally:
            uvicorn_server.should_exit = True
            thread.join(10)


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def free_port() -> int:
    """Return a port where nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
