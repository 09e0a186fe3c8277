"""Bodies of requests: their memory and number are limited."""

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from support import upstreams
from support.upstreams import RunningServer, running_server, wait_until


def send_half(front: RunningServer, size: int) -> socket.socket:
    """Open a connection and send all but the last byte of a body."""
    connection = socket.create_connection(("127.0.0.1", httpx.URL(front.url).port or 0), timeout=5)
    head = f"POST /route HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n".encode()
    connection.sendall(head + b" " * (size - 1))
    return connection


def test_half_sent_bodies_take_no_place_of_others(tmp_path: Path) -> None:
    with running_server(tmp_path, max_concurrent_requests=4) as front, ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(send_half(front, 100))
        wait_until(lambda: front.metric("body_bytes") == 60 * 99)
        assert front.chat().status_code == 200


def test_the_memory_of_all_bodies_is_limited_and_long_ones_leave_room_for_short_ones(tmp_path: Path) -> None:
    with running_server(tmp_path, bodies_bytes=2_000_000) as front, ExitStack() as stack:
        stack.enter_context(send_half(front, 950_000))
        wait_until(lambda: front.metric("body_bytes") == 949_999)
        long = front.chat("x" * 100_000)
        assert (long.status_code, long.headers["retry-after"]) == (503, "1")
        assert long.json()["error"]["code"] == "overloaded"
        assert front.metric("refusals_total", code="overloaded") >= 1
        assert front.chat("short").status_code == 200
        stack.close()
        wait_until(lambda: front.metric("body_bytes") == 0)
        assert front.chat("x" * 100_000).status_code == 200


def test_requests_of_one_key_over_its_limit_get_status_429_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOTER_KEYS", "one,two")
    settings = {"keys_env": "ZOOTER_KEYS", "max_concurrent_per_key": 1}
    with running_server(tmp_path, {"small": upstreams.hang}, timeout=5.0, **settings) as front:

        def chat(key: str, seconds: float) -> httpx.Response:
            headers, messages = {"authorization": f"Bearer {key}"}, [{"role": "user", "content": "hello"}]
            body = {"model": "small", "messages": messages}
            return front.client.post("/v1/chat/completions", json=body, headers=headers, timeout=seconds)

        async def both() -> httpx.Response:
            waiting = asyncio.create_task(asyncio.to_thread(chat, "one", 3.0))
            await asyncio.to_thread(wait_until, lambda: bool(front.upstreams["small"].bodies))
            refused = await asyncio.to_thread(chat, "one", 3.0)
            front.upstreams["small"].behaviour = upstreams.respond_normally
            assert (await asyncio.to_thread(chat, "two", 3.0)).status_code == 200
            await asyncio.gather(waiting, return_exceptions=True)
            return refused

        refused = asyncio.run(both())
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        wait_until(lambda: front.metric("requests_in_flight") == 0)
        assert chat("one", 3.0).status_code == 200
