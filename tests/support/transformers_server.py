"""`transformers serve` in a subprocess: live candidates behind a third-party server."""

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

REQUIRED_PACKAGES = ("fastapi", "uvicorn", "accelerate")
START = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
START_SECONDS = 300  # a start takes some 10 on an idle machine


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        process: the subprocess.
        port: of this machine.
        log: file of its output.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Address of its OpenAI-compatible API."""
        return f"http://localhost:{self.port}/v1"


@contextmanager
def serve(log: Path, model: list[str]) -> Iterator[Server]:
    """Start a server on a free port, and stop it at the end.

    Args:
        log: file for its output.
        model: arguments that name the model; empty serves any.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", START, "serve", *model, "--device", "cpu", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        yield Server(process, port, log)
    finally:
        process.kill()
        process.wait()


def wait_until_ready(server: Server) -> None:
    """Wait until a server answers health checks; fail if it ends or takes too long."""
    started = time.monotonic()
    while not _is_up(f"http://localhost:{server.port}/health"):
        assert server.process.poll() is None, server.log.read_text()
        assert time.monotonic() - started < START_SECONDS, server.log.read_text()
        time.sleep(0.1)


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
