"""Several workers on one port: what they share, and what happens when one of them, or all of them, end."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import fake_router, serve_process, upstreams
from support.paths import ROOT
from support.server_process import server_process
from support.upstreams import wait_until

ANSWERED = 'zooter_requests_total{route="/v1/chat/completions",status="200"}'
KEYS = "alice: {keys: [alice], requests_per_minute: 12}\nbob: {keys: [bob], dollars_per_day: 1000}\n"


@dataclass
class Workers:
    """A server of two workers, with servers for "small" and "large"."""

    url: str
    supervisor: subprocess.Popen[bytes]
    folder: Path
    statuses: list[int] = field(default_factory=list)  # of the responses to all chat requests

    def chat(self, text: str = "hello", key: str = "bob", previous: str = "") -> httpx.Response:
        """Send a chat request on a connection of its own."""
        messages = [{"role": "user", "content": text}]
        if previous:
            messages = [{"role": "user", "content": previous}, {"role": "assistant", "content": "ok"}, *messages]
        headers = {"authorization": f"Bearer {key}"}
        body = {"model": "zooter", "messages": messages}
        url = f"{self.url}/v1/chat/completions"
        response = httpx.post(url, json=body, headers=headers, timeout=20, verify=False)
        self.statuses.append(response.status_code)
        return response

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the access log."""
        path = self.folder / "access.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def metric(self, line: str) -> float:
        """Return the value of a metric with its labels; 0 if it has none yet."""
        text = httpx.get(f"{self.url}/metrics", headers={"authorization": "Bearer bob"}, verify=False).text
        values = re.findall(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        assert len(values) <= 1, values
        return float(values[0]) if values else 0.0

    def wait_for_counts(self) -> None:
        """Wait until all responses are counted, which they are once the client has them."""
        wait_until(lambda: self.metric(ANSWERED) == self.statuses.count(200))

    def processes(self) -> set[int]:
        """Return the ids of the workers' processes."""
        children = Path(f"/proc/{self.supervisor.pid}/task/{self.supervisor.pid}/children").read_text().split()
        workers = set()
        for child in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    workers.add(int(child))
        return workers

    def wait_for_both(self) -> None:
        """Wait until each of two workers has answered a request."""
        start = len(self.rows())

        def both() -> bool:
            self.chat()
            return len({row["worker"] for row in self.rows()[start:]}) == 2

        wait_until(both, 30)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("workers")
    (folder / "keys.yaml").write_text(KEYS)
    with ExitStack() as stack:
        names = ("small", "large")
        ups = {name: stack.enter_context(upstreams.serve_upstream(name, upstreams.respond_normally)) for name in names}
        candidates = {name: {"url": up.url, "input_price": 2, "output_price": 2} for name, up in ups.items()}
        (folder / "pool.yaml").write_text(json.dumps({"candidates": candidates}))
        settings = {"workers": 2, "pool_file": str(folder / "pool.yaml"), "keys_file": str(folder / "keys.yaml")}
        settings["access_log"] = str(folder / "access.jsonl")
        process, url = stack.enter_context(server_process(folder, **settings))
        server = Workers(url, process, folder)
        server.wait_for_both()
        yield server


def test_metrics_of_all_workers_are_added_up(workers: Workers) -> None:
    for _ in range(10):
        assert workers.chat().status_code == 200
    workers.wait_for_counts()
    assert workers.metric('zooter_upstream_circuit_open{candidate="small"}') == 0
    wait_until(lambda: workers.metric("zooter_requests_in_flight") == 1)  # the one for the metrics


def test_a_conversation_stays_with_its_candidate_whichever_worker_answers(workers: Workers) -> None:
    start = len(workers.rows())
    assert workers.chat("small at first").headers["x-zooter-candidate"] == "small"
    answers = []
    while len({row["worker"] for row in workers.rows()[start:]}) < 2 or len(answers) < 8:
        answers.append(workers.chat("unsure now", previous="small at first").headers)
    assert {(answer["x-zooter-candidate"], answer["x-zooter-why"]) for answer in answers} == {("small", "stays")}


def test_a_keys_limits_hold_for_all_workers_together(workers: Workers) -> None:
    statuses = Counter(workers.chat(key="alice").status_code for _ in range(30))
    assert statuses[429] >= 15
    assert 12 <= statuses[200] <= 15  # a minute's worth, and one every five seconds


def test_sighup_reaches_every_worker(workers: Workers) -> None:
    before = workers.metric('zooter_reloads_total{result="taken"}')
    workers.supervisor.send_signal(signal.SIGHUP)
    wait_until(lambda: workers.metric('zooter_reloads_total{result="taken"}') >= before + 2)
    workers.wait_for_both()
    assert workers.metric('zooter_reloads_total{result="taken"}') == before + 2


def test_a_worker_that_dies_is_started_again_and_its_counts_are_kept(workers: Workers) -> None:
    assert workers.chat("small at first").headers["x-zooter-candidate"] == "small"
    workers.wait_for_counts()
    processes = workers.processes()
    assert len(processes) == 2
    killed = processes.pop()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in workers.processes())
    assert workers.chat().status_code == 200
    workers.wait_for_counts()
    workers.wait_for_both()
    workers.wait_for_counts()
    assert workers.chat("unsure now", previous="small at first").headers["x-zooter-why"] == "stays"


def test_the_end_of_the_server_lets_every_worker_finish_its_requests(workers: Workers) -> None:
    processes = workers.processes()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(workers.chat, "slow") for _ in range(8)]  # half a second each
        wait_until(lambda: workers.metric("zooter_requests_in_flight") == 9)  # with that for the metrics
        workers.supervisor.send_signal(signal.SIGTERM)
        assert [answer.result().status_code for answer in answers] == [200] * 8
    assert workers.supervisor.wait(20) == 0
    log = workers.supervisor.stderr.read().decode()  # type: ignore[union-attr]
    assert len(re.findall(r"ERROR .*worker \d \(\d+\) has ended \(signal 9\) and is started again", log)) == 1
    assert not [process for process in processes if Path(f"/proc/{process}").exists()]


def start(folder: Path, **settings: Any) -> "subprocess.Popen[bytes]":
    values = {"export": str(folder), "workers": 2, "port": 0, **settings}
    command = [sys.executable, str(Path(serve_process.__file__)), json.dumps(values)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])}
    return subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)


@pytest.mark.slow
def test_what_keeps_the_workers_from_starting_is_said_once_and_ends_the_server(tmp_path: Path) -> None:
    process = start(tmp_path)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 2
    assert log.decode().count("expected a whole export") == 1


@pytest.mark.slow
def test_workers_end_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    fake_router.write(tmp_path)
    process = start(tmp_path)
    workers = Workers("", process, tmp_path)
    wait_until(lambda: len(workers.processes()) == 2, 60)  # the second starts once the first is ready
    processes = workers.processes()
    assert len(processes) == 2
    process.kill()
    process.wait()
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in processes), 30)
