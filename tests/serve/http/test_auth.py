"""Authentication, origin checks, limits, and secrecy of keys."""

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import upstreams
from support.upstreams import RunningServer, chunk, http_response, respond_with, running_server, sse_event

from zooter.errors import ConfigError
from zooter.serve.http import keys
from zooter.serve.settings import ServeSettings
from zooter.serve.workers.shared_memory import SharedMemory

CHAT_BODY = {"model": "zooter", "messages": [{"role": "user", "content": "hello"}]}


def test_with_keys_requests_without_a_valid_one_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("from-a-file\n\n")
    monkeypatch.setenv("ZOOTER_KEYS", "one-key, another-key")
    with running_server(tmp_path, keys_env="ZOOTER_KEYS", keys_file=tmp_path / "keys") as front:

        def status(path: str, key: str | None) -> int:
            headers = {} if key is None else {"authorization": key}
            if path == "/v1/chat/completions":
                return front.client.post(path, json=CHAT_BODY, headers=headers).status_code
            return front.client.get(path, headers=headers).status_code

        for good in ("Bearer one-key", "Bearer another-key", "bearer from-a-file"):
            assert status("/v1/chat/completions", good) == 200
        for wrong in (
            None,
            "Bearer",
            "Bearer one-ke",
            "Bearer one-key,",
            "one-key",
            "Basic one-key",
        ):
            for path in ("/v1/chat/completions", "/v1/models", "/metrics", "/route"):
                assert status(path, wrong) == 401, (wrong, path)
        assert status("/healthz", None) == status("/readyz", None) == status("/", None) == 200
        # None of it is passed on.
        assert "one-key" not in "".join(front.upstreams["small"].heads)


def test_without_keys_only_loopback_addresses_are_allowed(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        with pytest.raises(ConfigError, match="bearer keys for a server that listens on"):
            ServeSettings(tmp_path, host=host)
    for host in ("127.0.0.1", "::1", "localhost"):
        ServeSettings(tmp_path, host=host)


def test_a_variable_or_file_without_a_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOTER_KEYS", " ")
    with pytest.raises(ConfigError, match="bearer keys in ZOOTER_KEYS"):
        keys.read_keys(ServeSettings(tmp_path, keys_env="ZOOTER_KEYS"), SharedMemory())
    with pytest.raises(ConfigError, match="a file with bearer keys"):
        keys.read_keys(ServeSettings(tmp_path, keys_file=tmp_path / "none"), SharedMemory())
    with pytest.raises(ConfigError, match="not shown") as error:
        ServeSettings(tmp_path, keys_env="sk-secret")
    assert "sk-secret" not in str(error.value)


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"host": "evil.example"}, {"origin": "null"}, {"host": "a/b"}]
)
def test_another_sites_page_does_not_reach_a_server_without_keys(tmp_path: Path, headers: dict[str, str]) -> None:
    with running_server(tmp_path) as front:
        assert front.client.post("/v1/chat/completions", json=CHAT_BODY, headers=headers).status_code == 403
        assert (
            front.client.post("/v1/chat/completions", json=CHAT_BODY, headers={"origin": front.url}).status_code == 200
        )
        assert not any("evil" in head for head in front.upstreams["small"].heads)


def test_an_upstreams_key_is_sent_to_it_and_appears_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("LARGE_KEY", key)
    echo = json.dumps({"error": {"message": f"Incorrect API key provided: {key}"}}).encode()
    stream = upstreams.STREAM_HEAD + chunk(sse_event(key)) + b"0\r\n\r\n"
    with upstreams.serve_upstream("large", respond_with(http_response(echo, 400, openai_version=key))) as upstream:
        (tmp_path / "pool.yaml").write_text(
            json.dumps({"candidates": {"large": {"url": upstream.url, "key_env": "LARGE_KEY"}}})
        )
        log = tmp_path / "access.jsonl"
        overrides: dict[str, Any] = {"pool_file": tmp_path / "pool.yaml", "access_log": str(log), "log_text": True}
        with running_server(tmp_path, decisions=tmp_path / "decisions", **overrides) as front:
            answers = [front.chat("one for large")]
            for behaviour in (
                respond_with(http_response(echo, 500)),
                respond_with(http_response(upstreams.completion_body(key))),
                respond_with(stream),
            ):
                upstream.behaviour = behaviour
                answers += [front.chat("one for large", stream=behaviour is not None)]
            answers += [front.client.get(path) for path in ("/metrics", "/v1/models")]
            answers += [front.client.post("/route", json={"query": "hello"})]
    assert all(f"authorization: bearer {key}" in head.lower() for head in upstream.heads)
    assert len(upstream.heads) == 4
    for answer in answers:
        assert key not in answer.text + str(answer.headers)
    assert key not in caplog.text + log.read_text()
    written = list((tmp_path / "decisions").glob("*.parquet"))
    assert written
    assert not any(key.encode() in path.read_bytes() for path in written)


def test_a_client_cannot_choose_which_server_is_asked(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        evil = "http://127.0.0.1:1/v1"
        more = {"base_url": evil, "api_base": evil, "url": evil, "user": "x"}
        answer = front.client.post(
            "/v1/chat/completions?base_url=http://127.0.0.1:1",
            json=CHAT_BODY | more,
            headers={"x-forwarded-host": "evil"},
        )
        assert answer.headers["x-zooter-candidate"] == "small"
        unknown = front.client.post("/v1/chat/completions", json=CHAT_BODY | {"model": evil})
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "model_not_found"


def test_no_path_redirects(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        for path in ("//evil.example", "/v1/", "/v1/models/", "/healthz/", "/%2F%2Fevil.example", "/v1/models/none"):
            answer = front.client.get(f"{front.url}{path}")
            assert "location" not in answer.headers, path
            assert answer.status_code in (404, 405), path
            assert answer.json()["error"]["message"]


def exchange(front: RunningServer, data: bytes, wait: float = 3.0, pace: float = 0.0) -> bytes:
    """Send bytes and return what the server sends before it disconnects."""
    with socket.create_connection(("127.0.0.1", httpx.URL(front.url).port or 0), timeout=wait) as connection:
        received = b""
        try:
            for piece in [data[i : i + 1] for i in range(len(data))] if pace else [data]:
                connection.sendall(piece)
                time.sleep(pace)
            while piece := connection.recv(65_536):
                received += piece
        except (ConnectionError, TimeoutError):
            pass
        return received


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nlong: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nendless: " + b"x" * 500_000,
    ],
    ids=["many", "long", "line", "endless"],
)
def test_a_head_over_the_limit_is_refused(tmp_path: Path, head: bytes) -> None:
    with running_server(tmp_path) as front:
        # A client that is still sending may lose the answer to the reset that follows it.
        assert exchange(front, head)[:12] in (b"HTTP/1.1 431", b"")
        assert front.chat().status_code == 200


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n"]
)
def test_invalid_http_gets_status_400(tmp_path: Path, data: bytes) -> None:
    with running_server(tmp_path) as front:
        assert exchange(front, data).startswith(b"HTTP/1.1 400")
        assert front.chat().status_code == 200


def test_clients_that_send_too_slowly_are_disconnected(tmp_path: Path) -> None:
    with running_server(tmp_path, head_seconds=0.3, body_seconds=0.3) as front:
        start = time.perf_counter()
        assert exchange(front, b"") == b""
        assert exchange(front, b"GET / HTTP/1.1\r\n" * 100, pace=0.01) == b""
        slow_body = b"POST /route HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"
        assert exchange(front, slow_body).startswith(b"HTTP/1.1 408")
        assert time.perf_counter() - start < 5
        assert front.chat().status_code == 200


def test_requests_over_the_concurrency_limit_get_status_503_with_retry_after(tmp_path: Path) -> None:
    async def later(body: dict[str, Any], upstream: upstreams.Upstream, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.write(http_response(upstreams.completion_body("hello")))

    async def all_of_them(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url) as client:
            return await asyncio.gather(*(client.post("/v1/chat/completions", json=CHAT_BODY) for _ in range(6)))

    with running_server(tmp_path, {"small": later}, max_concurrent_requests=4) as front:
        answers = asyncio.run(all_of_them(front.url))
        assert front.client.get("/healthz").status_code == 200
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 2
    assert {answer.headers.get("retry-after") for answer in answers if answer.status_code == 503} == {"1"}


def test_paths_and_methods_that_clients_invent_are_no_labels_of_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOTER_KEYS", "one-key")
    with running_server(tmp_path, keys_env="ZOOTER_KEYS") as front:
        for i in range(30):
            front.client.get(f"/v1/{i}")
            front.client.get(f"/v1/models/{i}", headers={"authorization": "Bearer one-key"})
            front.client.request(f"M{i}", f"/{i}")
        samples = [s for metric in front.middleware.metrics.registry.collect() for s in metric.samples]
    routes = {s.labels["route"] for s in samples if s.name == "zooter_requests_total"}
    assert routes <= {"other", "/v1/models/{name}"}


def test_limits_of_a_key_refuse_requests_and_its_spending_is_counted_even_of_a_stream_that_its_client_left(
    tmp_path: Path,
) -> None:
    async def stream_without_end(body: dict[str, Any], upstream: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(upstreams.STREAM_HEAD)
        while True:
            writer.write(chunk(sse_event("on and on")))
            await writer.drain()
            await asyncio.sleep(0.01)

    path = tmp_path / "keys.yaml"
    path.write_text("alice: {keys: [a], requests_per_minute: 2}\nbob: {keys: [b], dollars_per_day: 0.000029}")
    log = tmp_path / "access.jsonl"
    with running_server(tmp_path, keys_file=path, access_log=str(log)) as front:

        def send(key: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {key}"}
            body = CHAT_BODY | {"model": "large"}
            return front.client.post("/v1/chat/completions", json=body, headers=headers)

        assert [send("a").status_code for _ in range(3)] == [200, 200, 429]
        # 10 + 5 tokens at 2 dollars a million
        assert send("b").status_code == 200
        # The cost is counted after the last byte, which a client does not wait for.
        upstreams.wait_until(lambda: front.metric("key_dollars_total", key="bob") > 0)
        assert send("b").status_code == 429
        assert send("b").json()["error"]["code"] == "insufficient_quota"
        spent = front.metric("key_dollars_total", key="alice")
        assert spent == pytest.approx(2 * 15 * 2 / 1e6)
        front.upstreams["small"].behaviour = stream_without_end
        path.write_text("alice: {keys: [c]}\nbob: {keys: [b], dollars_per_day: 1}")
        headers = {"authorization": "Bearer c"}
        upstreams.wait_until(lambda: front.client.get("/v1/models", headers=headers).status_code == 200)
        body = CHAT_BODY | {"model": "small", "stream": True}
        with front.client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            pieces = answer.iter_bytes()
            for _ in range(10):
                next(pieces)
        # one token an event, at 0.2 dollars a million
        upstreams.wait_until(lambda: front.metric("key_dollars_total", key="alice") > spent + 5 * 0.2 / 1e6)
        assert send("a").status_code == 401
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row.get("key") for row in rows if row["status"] == 429] == ["alice", "bob", "bob"]
    assert not any('"a"' in line or '"b"' in line for line in log.read_text().splitlines())
