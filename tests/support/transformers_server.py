"""`transformers serve` as a process of its own: live candidates behind a server that nobody here wrote."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("fastapi", "uvicorn", "accelerate")
START = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
SECONDS = 300  # a start takes some 10 on a quiet machine


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/v1"


@contextmanager
def serve(log: Path, model: list[str]) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", START, "serve", *model, "--device", "cpu", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        yield Server(process, port, log)
    finally:
        process.kill()
        process.wait()


def wait_for(server: Server) -> None:
    started = time.monotonic()
    while not _is_up(f"http://localhost:{server.port}/health"):
        assert server.process.poll() is None, server.log.read_text()
        assert time.monotonic() - started < SECONDS, server.log.read_text()
        time.sleep(0.1)


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
