"""Measure how long a long message makes others wait: `python benchmarks/stall.py EXPORT [ROUNDS]`.

One process asks the server for /healthz every 2 ms while another sends it bodies of 15.5 MiB, which an upstream gets.
The longest wait of each round stands beside that of a round in which the same bodies go to the upstream directly, so
that the machine is as busy: medians of ROUNDS (7) rounds for each body. The router is that of EXPORT.
"""

import asyncio
import http.client
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml
from rich.console import Console
from rich.table import Table
from serve import ANSWER, process

UPSTREAM, SERVER = 9_721, 9_722
SIZE = 31 * 2**19
BEATS = 400
PIECES = {  # as they stand in JSON
    "English words": b"word ",
    "other letters": "a\u00e9\u65e5\U0001f600".encode(),
    "escaped letters": rb"\n\u0041",
    "quotes and brackets": rb"\",[",
    "spaces around the JSON": b"",
}


def body(piece: bytes) -> bytes:
    """Build a chat request of `SIZE` bytes."""
    text = piece * ((SIZE - 100) // max(1, len(piece)))
    request = b'{"model": "zooter", "messages": [{"role": "user", "content": "%s"}]}' % text
    return request.ljust(SIZE)


async def upstream() -> None:
    """Read requests whole, and answer them."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = json.dumps(ANSWER).encode()
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
                start = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                writer.write(start % len(answer) + answer)
        except asyncio.IncompleteReadError:
            writer.close()

    await (await asyncio.start_server(handle, "127.0.0.1", UPSTREAM, limit=2 * SIZE)).serve_forever()


def send(port: int, name: str, times: int) -> None:
    """Send a body again and again."""
    data, headers = body(PIECES[name]), {"content-type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(times):
        connection.request("POST", "/v1/chat/completions", data, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"status {answer.status}")


def longest_wait(port: int, name: str) -> float:
    """Return the milliseconds of the longest wait for /healthz while bodies go to a port."""
    connection, seconds = http.client.HTTPConnection("127.0.0.1", SERVER), []
    with subprocess.Popen([sys.executable, __file__, "--send", str(port), name, "4"]) as sending:
        for _ in range(BEATS):
            start = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            seconds.append(time.perf_counter() - start)
            time.sleep(0.002)
    if sending.returncode:
        raise SystemExit("the bodies were not answered")
    return max(seconds) * 1e3


def main(export: Path, rounds: int) -> None:
    names = [row["name"] for row in json.loads((export / "pool.json").read_text())["candidates"]]
    table = Table("15.5 MiB of", "directly to the upstream, ms", "through the server, ms", "excess, ms")
    with tempfile.TemporaryDirectory() as folder:
        pool, config = Path(folder) / "pool.yaml", Path(folder) / "serve.yaml"
        pool.write_text(yaml.safe_dump({"candidates": {n: {"url": f"http://127.0.0.1:{UPSTREAM}/v1"} for n in names}}))
        config.write_text(yaml.safe_dump({"access_log": None, "port": SERVER}))
        serve = "import sys; from zooter.commands.cli import main; sys.exit(main(sys.argv[1:]))"
        options = ["-c", serve, "serve", str(export), "--pool", str(pool), "--config", str(config)]
        with process(__file__, "--upstream", port=UPSTREAM), process(*options, port=SERVER):
            send(SERVER, "English words", 2)  # starts the process that parses
            for name in PIECES:
                pairs = [(longest_wait(UPSTREAM, name), longest_wait(SERVER, name)) for _ in range(rounds)]
                direct, through = (median(values) for values in zip(*pairs, strict=True))
                table.add_row(name, f"{direct:.0f}", f"{through:.0f}", f"{through - direct:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    if sys.argv[1:] == ["--upstream"]:
        asyncio.run(upstream())
    elif sys.argv[1:2] == ["--send"]:
        send(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 7)
    else:
        raise SystemExit(__doc__)
