"""Measure added latency, throughput, memory: `python benchmarks/serve.py EXPORT [REQUESTS [PRECISION]] [OPTIONS]`.

In front of one upstream that answers after 50 ms, whole or as ten server-sent events 5 ms apart. Upstream, server and
load are processes of their own on the same machine, so that all of it shares its cores. REQUESTS is how many the memory
is watched over (100,000; 0 for none), PRECISION that of the router's network (auto). `--workers N`, `--backup DIR` and
`--deadline SECONDS` are settings of the server; with several workers, processor time and memory are those of all its
processes.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
import yaml
from rich.console import Console
from rich.table import Table

UPSTREAM, SERVER = 9_701, 9_702
CONCURRENCY = (1, 16, 64, 256)
RATES = (100, 150, 200, 250, 300, 350, 400, 500, 600, 800)
ROUNDS = 3
SECONDS = 10  # of each rate
MAX_P99 = 0.25  # seconds; a p99 above it means that the queue grows
ANSWER = {
    "id": "x", "object": "chat.completion", "created": 0, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "An answer."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 32, "completion_tokens": 10, "total_tokens": 42},
}  # fmt: skip
EVENT = b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'


class Upstream(asyncio.Protocol):
    """Minimal HTTP server."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport, self.seen = transport, b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        head, gap, rest = self.seen.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if not gap or len(rest) < length:
            return
        self.seen = rest[length:]
        streams = b'"stream": true' in rest[:length]
        asyncio.get_running_loop().call_later(0.05, self.stream if streams else self.whole)

    def whole(self) -> None:
        body = json.dumps(ANSWER).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)

    def stream(self, sent: int = 0) -> None:
        if sent == 0:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            self.transport.write(head)
        event = EVENT if sent < 9 else b"data: [DONE]\n\n"
        self.transport.write(b"%x\r\n%s\r\n" % (len(event), event) + (b"" if sent < 9 else b"0\r\n\r\n"))
        if sent < 9:
            asyncio.get_running_loop().call_later(0.005, self.stream, sent + 1)


@dataclass
class Load:
    """Load generator with persistent connections, in one process.

    Attributes:
        seconds: of each answered request, to its last byte.
        failed: requests that were not answered with 200.
    """

    port: int
    stream: bool
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(self, i: int) -> None:
        started = time.perf_counter()
        try:
            pair = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
            pair[1].write(_request(i, self.stream))
            head = await pair[0].readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await (pair[0].readexactly(int(length)) if length else pair[0].readuntil(b"\r\n0\r\n\r\n"))
        except (OSError, asyncio.IncompleteReadError):
            self.failed += 1
            return
        self.idle.append(pair)
        self.seconds.append(time.perf_counter() - started)
        self.failed += b" 200 " not in head[:16]

    async def closed(self, clients: int, requests: int) -> None:
        """Send requests from several clients, each with one request after another."""
        numbers = iter(range(requests))

        async def client() -> None:
            for i in numbers:
                await self.ask(i)

        await asyncio.gather(*(client() for _ in range(clients)))

    async def open(self, rate: float, seconds: float) -> None:
        """Send a request every 1/rate seconds, whether or not earlier ones are answered."""
        loop, tasks = asyncio.get_running_loop(), []
        start = loop.time()
        for i in range(int(rate * seconds)):
            if (left := start + i / rate - loop.time()) > 0:
                await asyncio.sleep(left)
            tasks.append(asyncio.create_task(self.ask(i)))
        await asyncio.gather(*tasks)

    def percentile(self, share: float) -> float:
        """Return the milliseconds at a quantile of the requests."""
        return sorted(self.seconds)[min(int(share * len(self.seconds)), len(self.seconds) - 1)] * 1e3


def _request(i: int, stream: bool) -> bytes:
    text = (
        f"A shop sells pencils at {i % 97} cents and pens at {i % 53 + 90} cents. How much do {i % 7 + 2} pencils and "
        "two pens cost together?"
    )
    body = json.dumps({"model": "zooter", "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


@contextmanager
def process(*arguments: str, port: int) -> Iterator[int]:
    """Run a process until it listens, and yield its id."""
    running = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            time.sleep(0.1)
            if running.poll() is not None:
                raise SystemExit(f"{arguments} ended with {running.returncode}")
            try:
                asyncio.run(_connects(port))
                break
            except OSError:
                continue
        yield running.pid
    finally:
        running.terminate()
        running.wait()


async def _connects(port: int) -> None:
    (await asyncio.open_connection("127.0.0.1", port))[1].close()


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def cpu(pid: int) -> float:
    """Read the seconds of CPU that a process and its children have used."""
    fields = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in family(pid)]
    return sum(int(times[11]) + int(times[12]) for times in fields) / 100


def memory(pid: int) -> float:
    """Read the resident memory of a process and its children in MiB."""
    lines = "\n".join(Path(f"/proc/{each}/status").read_text() for each in family(pid)).splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def late_decisions() -> tuple[int, int]:
    """Read how many decisions the backup has made so far, and how many fell to the default candidate."""
    with urllib.request.urlopen(f"http://localhost:{SERVER}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    backup, default = (
        sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(f"zooter_{name}_total"))
        for name in ("backup_decisions", "decision_defaults")
    )
    return backup, default


def late_shares(before: tuple[int, int], requests: float) -> list[str]:
    """Format the shares of late decisions among requests since then: to the backup, to the default candidate."""
    return [f"{(now - then) / requests:.1%}" for now, then in zip(late_decisions(), before, strict=True)]


def warm_up(access_log: Path, workers: int) -> None:
    """Send requests until every worker has answered some."""
    answered: set[int | None] = set()
    while len(answered) < workers:
        uvloop.run(Load(SERVER, False).closed(16, 500))
        answered |= {json.loads(line).get("worker") for line in access_log.read_text().splitlines()}


def latency_table(pid: int, console: Console) -> None:
    """Compare latency through the server with the upstream's own, in turns; medians of the rounds."""
    columns = "answer|at once|direct p50|p50 ms|added p50|added p99|requests/s|CPU ms|to backup|to default|lost"
    table = Table(*columns.split("|"), title="Latency added")
    for stream in (False, True):
        for clients in CONCURRENCY:
            requests = min(max(100, 20 * clients), 1_500)
            direct50, p50, more50, more99, rates, cpu_ms = [], [], [], [], [], []
            late_before, failed = late_decisions(), 0
            for _ in range(ROUNDS):
                direct, through = Load(UPSTREAM, stream), Load(SERVER, stream)
                uvloop.run(direct.closed(clients, requests))
                start, busy = time.perf_counter(), cpu(pid)
                uvloop.run(through.closed(clients, requests))
                rates.append(requests / (time.perf_counter() - start))
                cpu_ms.append((cpu(pid) - busy) / requests * 1e3)
                direct50.append(direct.percentile(0.5))
                p50.append(through.percentile(0.5))
                more50.append(through.percentile(0.5) - direct.percentile(0.5))
                more99.append(through.percentile(0.99) - direct.percentile(0.99))
                failed += through.failed
            medians = [f"{median(values):.1f}" for values in (direct50, p50, more50, more99, rates, cpu_ms)]
            shares = late_shares(late_before, ROUNDS * requests)
            table.add_row("events" if stream else "whole", str(clients), *medians, *shares, str(failed))
    console.print(table)


def throughput_table(pid: int, console: Console) -> None:
    """Measure latencies at rates that are offered whether or not the server keeps up."""
    columns = "offered/s|p50 ms|p99 ms|CPU, cores|to backup|to default|lost"
    table = Table(*columns.split("|"), title="Sustained, whole answers")
    best = 0
    for rate in RATES:
        load, late_before, busy, start = Load(SERVER, False), late_decisions(), cpu(pid), time.perf_counter()
        uvloop.run(load.open(rate, SECONDS))
        cores = (cpu(pid) - busy) / (time.perf_counter() - start)
        steady = load.failed == 0 and load.percentile(0.99) < MAX_P99 * 1e3
        best = max(best, rate if steady else 0)
        table.add_row(
            str(rate),
            f"{load.percentile(0.5):.1f}",
            f"{load.percentile(0.99):.1f}",
            f"{cores:.2f}",
            *late_shares(late_before, rate * SECONDS),
            str(load.failed),
        )
        if not steady:
            break
    console.print(table)
    console.print(f"highest rate with nothing lost and a p99 under {MAX_P99 * 1e3:.0f} ms: {best}/s")


def memory_table(pid: int, requests: int, console: Console) -> None:
    """Measure resident memory over many requests."""
    table = Table("requests", "MiB", "lost", title="Memory")
    load = Load(SERVER, False)
    parts = 10
    for part in range(parts + 1):
        table.add_row(str(part * requests // parts), f"{memory(pid):.1f}", str(load.failed))
        if part < parts:
            uvloop.run(load.closed(64, requests // parts))
            load.idle.clear()
            load.seconds.clear()
    console.print(table)


def main(export: Path, requests: int, **settings: Any) -> None:
    console = Console(width=120)
    names = [row["name"] for row in json.loads((export / "pool.json").read_text())["candidates"]]
    with tempfile.TemporaryDirectory() as folder:
        pool, config = Path(folder) / "pool.yaml", Path(folder) / "serve.yaml"
        pool.write_text(
            yaml.safe_dump({"candidates": {name: {"url": f"http://127.0.0.1:{UPSTREAM}/v1"} for name in names}})
        )
        config.write_text(yaml.safe_dump({"access_log": f"{folder}/access.jsonl", **settings}))
        serve = "import sys; from zooter.commands.cli import main; sys.exit(main(sys.argv[1:]))"
        options = ["--pool", str(pool), "--config", str(config), "--port", str(SERVER)]
        with (
            process(__file__, "--upstream", port=UPSTREAM),
            process("-c", serve, "serve", str(export), *options, port=SERVER) as pid,
        ):
            warm_up(Path(folder) / "access.jsonl", settings["workers"])
            latency_table(pid, console)
            throughput_table(pid, console)
            if requests:
                memory_table(pid, requests, console)


async def upstream() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", UPSTREAM, backlog=2_048)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["--upstream"]:
        uvloop.run(upstream())
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=Path)
    parser.add_argument("requests", type=int, nargs="?", default=100_000)
    parser.add_argument("precision", nargs="?", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--backup")
    parser.add_argument("--deadline", type=float, default=1.0)
    main(**vars(parser.parse_args()))
