"""The HTTP responder against a server that nobody here wrote: `transformers serve`."""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import causal_folder

from zooter.errors import ResponderError
from zooter.pool import Candidate
from zooter.responder.huggingface import HuggingFaceResponder
from zooter.responder.openai import OpenAIResponder
from zooter.responder.protocol import Request, Responder, Sampling
from zooter.types import Query, Response

for needed in ("fastapi", "uvicorn", "accelerate"):
    pytest.importorskip(needed, reason="transformers[serving] is not installed")

pytestmark = pytest.mark.slow
START = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
SECONDS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return causal_folder(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", START, "serve", str(folder), "--device", "cpu", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        started = time.monotonic()
        while not _is_up(f"http://localhost:{port}/health"):
            assert process.poll() is None, (folder / "serve.log").read_text()
            assert time.monotonic() - started < SECONDS, (folder / "serve.log").read_text()
            time.sleep(0.1)
        yield f"http://localhost:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def ask(responder: Responder, candidate: Candidate, texts: list[str]) -> dict[str, Response]:
    async def collect() -> dict[str, Response]:
        requests = [Request(Query(text, text), candidate) for text in texts]
        return {response.query_id: response async for response in responder.respond(requests)}

    return asyncio.run(collect())


def test_the_same_model_says_the_same_here_and_behind_the_server(folder: Path, url: str) -> None:
    texts = ["hi", "what is 1 + 1?", "a longer query than the others"]
    sampling = Sampling(temperature=0, max_new_tokens=8)
    there = ask(OpenAIResponder(sampling), Candidate("tiny", model=str(folder), url=url, price=1.0), texts)
    here = ask(HuggingFaceResponder(sampling), Candidate("tiny", model=str(folder), price=1.0), texts)
    for text in texts:
        for name in ("text", "finish_reason", "input_tokens", "output_tokens", "cost", "error"):
            assert getattr(there[text], name) == getattr(here[text], name), name
    assert there["hi"].margin is None  # this server gives no probabilities


def test_a_wrong_model_name_stops_at_once_with_its_words(url: str) -> None:
    with pytest.raises(ResponderError, match="requested 'nobody/none'"):
        ask(OpenAIResponder(), Candidate("tiny", model="nobody/none", url=url), ["hi"] * 3)
