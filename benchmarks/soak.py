"""Let clients and upstreams fail at random: `python benchmarks/soak.py [REQUESTS [EXPORT]]`.

REQUESTS (100,000) go to a server in front of three candidates, one of which has two servers. A third of the upstreams'
answers is faulty, and a tenth of the clients misbehaves. Every other request must end in an answer of its own or in an
error in OpenAI's form; afterwards nothing is in flight, every candidate answers again, and memory has not grown.
Without EXPORT the router is a random one, as the subject is the server. The exit status is 1 if anything is lost or
stuck.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
import yaml
from rich.console import Console
from rich.table import Table
from soak_clients import CLIENTS, NAMES, PATIENCE, Clients

UPSTREAM, SERVER = 9_711, 9_712
MAX_GROWTH = 0.05  # of memory, from half of the requests to the last


def fetch(url: str, data: bytes | None = None) -> bytes:
    """Return the body of a response."""
    request = urllib.request.Request(url, data, {"authorization": "Bearer soak"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        content: bytes = answer.read()
    return content


def metrics() -> dict[str, float]:
    """Read the server's metrics, summed over labels."""
    values: Counter[str] = Counter()
    for line in fetch(f"http://127.0.0.1:{SERVER}/metrics").decode().splitlines():
        if not line.startswith("#"):
            values[line.partition("{")[0].partition(" ")[0]] += float(line.rpartition(" ")[2])
    return dict(values)


def memory(pid: int) -> float:
    """Read a process's resident memory in MiB."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def stuck() -> list[str]:
    """Return what does not work once the upstreams have recovered."""
    problems = []
    fetch(f"http://127.0.0.1:{UPSTREAM}/recover", b"{}")
    time.sleep(3.0)  # longer than any circuit breaker stays open, and than a call that hangs
    for name in NAMES:
        body = json.dumps({"model": name, "messages": [{"role": "user", "content": "there?"}]}).encode()
        try:
            fetch(f"http://127.0.0.1:{SERVER}/v1/chat/completions", body)
        except OSError as error:
            problems.append(f"{name} does not answer: {error}")
    for _ in range(20):
        values = metrics()
        if (values["zooter_requests_in_flight"], values["zooter_body_bytes"]) == (1, 0):  # that for the metrics
            return problems
        time.sleep(0.1)
    in_flight, held = values["zooter_requests_in_flight"] - 1, values["zooter_body_bytes"]
    return [*problems, f"{in_flight:g} requests are in flight and hold {held:g} bytes"]


@dataclass(frozen=True)
class RandomRouter:
    """Router with random probabilities, in place of an export."""

    folder: Path
    tag_names: tuple[str, ...] = ()

    @property
    def pool(self) -> Any:
        """The three candidates."""
        from zooter.data.pool import Pool

        return Pool.from_names(NAMES, dict.fromkeys(NAMES, 1.0))

    def route_with_tags(self, texts: list[str]) -> tuple[Any, Any]:
        """Return random probabilities (k, 3), and no tags."""
        from zooter.data.types import RouterOutput

        probs = np.random.default_rng().dirichlet(np.ones(3), len(texts))
        return RouterOutput(probs, NAMES), np.empty((len(texts), 0))


def serve(config: str) -> None:
    """Run the server with settings in JSON."""
    from zooter.serve import server
    from zooter.serve.settings import ServeSettings

    settings = json.loads(config)
    is_random = settings.pop("is_random")
    load = (lambda given: RandomRouter(given.export)) if is_random else server.load_router
    server.run(ServeSettings(**settings), load)  # type: ignore[arg-type]


def write_settings(folder: Path, export: Path | None) -> str:
    """Write the files of a server and return its settings in JSON."""
    url = f"http://127.0.0.1:{UPSTREAM}"
    candidates: dict[str, Any] = {name: {"url": f"{url}/{name}/v1", "timeout": 0.5} for name in NAMES}
    candidates["large"]["replicas"] = [f"{url}/large2/v1"]
    (folder / "pool.yaml").write_text(yaml.safe_dump({"candidates": candidates}))
    (folder / "keys.yaml").write_text("soak: {keys: [soak]}")
    values = {
        "export": str(export or folder), "pool_file": str(folder / "pool.yaml"), "port": SERVER,
        "access_log": str(folder / "access.jsonl"), "decisions": str(folder / "decisions"), "deadline": 0.5,
        "keys_file": str(folder / "keys.yaml"), "retry_share": 1.0, "cooldown": 0.2, "max_cooldown": 1.0,
        "conversations": 1_000, "decisions_bytes": 2**24, "is_random": export is None,
    }  # fmt: skip
    return json.dumps(values)


def main(requests: int, export: Path | None) -> int:
    console, clients, parts = Console(width=110), Clients(SERVER), 10
    with tempfile.TemporaryDirectory() as name, (Path(name) / "stderr").open("w") as stderr:
        folder, upstream = Path(name), Path(__file__).with_name("soak_upstream.py")
        server = [sys.executable, __file__, "--serve", write_settings(folder, export)]
        processes = [
            subprocess.Popen([sys.executable, str(upstream), str(UPSTREAM)]),
            subprocess.Popen(server, stderr=stderr),
        ]
        try:
            wait_until_ready()
            mebibytes = []
            for part in range(parts):
                uvloop.run(clients.run(range(part * requests // parts, (part + 1) * requests // parts)))
                mebibytes.append(memory(processes[1].pid))
            problems, values = stuck(), metrics()
        finally:
            for process in processes:
                process.terminate()
                process.wait()
        log = (folder / "stderr").read_text()
    table = Table("outcome", "requests", title=f"{requests} requests, {CLIENTS} at once")
    for outcome, count in clients.outcomes.most_common():
        table.add_row(outcome, str(count))
    table.add_row("lost", str(len(clients.lost)))
    console.print(table)
    errors = sum(values.get(f"zooter_{name}_total", 0.0) for name in ("upstream_errors", "streams_broken"))
    console.print(f"upstream faults met: {errors:g}; retried by another: {values.get('zooter_fallbacks_total', 0):g}")
    console.print(f"memory, MiB, after each tenth: {', '.join(f'{size:.0f}' for size in mebibytes)}")
    problems += [f"lost: {line}" for line in clients.lost[:10]]
    problems += [line for line in log.splitlines() if "Traceback" in line or "Error" in line][:10]
    half = mebibytes[parts // 2 - 1]
    if mebibytes[-1] > half * (1 + MAX_GROWTH):
        problems.append(f"memory has grown by {mebibytes[-1] - half:.0f} MiB since half of the requests")
    for problem in problems or ["nothing lost, nothing stuck, memory flat"]:
        console.print(problem, markup=False)
    return int(bool(problems))


def wait_until_ready() -> None:
    """Wait until the server answers."""
    for _ in range(300):
        time.sleep(0.1)
        try:
            fetch(f"http://127.0.0.1:{SERVER}/healthz")
            return
        except OSError:
            continue
    raise SystemExit("the server does not start")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        arguments = sys.argv[1:]
        sys.exit(main(int(arguments[0]) if arguments else 100_000, Path(arguments[1]) if arguments[1:] else None))
