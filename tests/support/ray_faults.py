"""Runs on a small Ray cluster whose workers, nodes and driver are killed at random moments."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zooter.collect.engine.ray import ActorPool, RayEngine
from zooter.collect.reader.zoo import ZooReader
from zooter.collect.respond import FillPolicy
from zooter.collect.responder.huggingface import HuggingFaceResponder
from zooter.collect.responder.protocol import Request, Responder, Sampling
from zooter.collect.rewarder.verify import VerifyRewarder
from zooter.collect.run import Collector
from zooter.data.cache import ResponseCache
from zooter.data.content_keys import response_keys
from zooter.data.pool import Candidate, Pool
from zooter.data.types import Response

ROOT = Path(__file__).resolve().parents[2]
ZOO = ("zoo-page", "zoo-sage")
STORE_BYTES = 100 * 2**20


@dataclass(frozen=True)
class EchoResponder:
    """Answer with the query's length, after some seconds per call."""

    seconds: float = 0.01
    sampling: Sampling = field(default_factory=Sampling)

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {"model": candidate.name}

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        for request in requests:
            time.sleep(self.seconds)
            text = f"{request.candidate.name} {len(request.query.text)}"
            yield Response(request.query.id, request.candidate.name, request.sample, text, "stop", 0.5, 7, 2)


@dataclass(frozen=True)
class WatchedResponder:
    """Log each call with its process, and each cell that is asked for although its response is stored."""

    inner: Responder
    folder: Path

    @property
    def sampling(self) -> Sampling:
        return self.inner.sampling

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return self.inner.identity(candidate)

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        keys = [
            response_keys(self.identity(request.candidate), [request.query], request.sample)[0] for request in requests
        ]
        missing = set(ResponseCache(self.folder / "cache").responses.missing(keys).tolist())
        for i in range(len(keys)):
            _log(self.folder, f"{os.getpid()} {'asked' if i in missing else 'asked again'}")
        async for response in self.inner.respond(requests):
            yield response


def _log(folder: Path, line: str) -> None:
    with (folder / "calls.log").open("a") as file:
        file.write(line + "\n")


def logged_calls(folder: Path) -> list[str]:
    """Lines of the log of calls: process and "asked", or "asked again" for a stored cell."""
    path = folder / "calls.log"
    return path.read_text().splitlines() if path.exists() else []


def collector(folder: Path, queries: int, responder: Responder, names: Sequence[str], **engine: Any) -> Collector:
    """A run of the zoo's queries, verified by their references; without engine settings it is local."""
    pool = Pool(tuple(Candidate(name, price=1.0, model=str(ROOT / "data" / "zoo" / name)) for name in names))
    # Batches as large as shards: the numbers of a model depend on its batch in their last digits.
    policy, where = FillPolicy(batch=100_000, seconds=1e6), {"engine": RayEngine(**engine)} if engine else {}
    watched = WatchedResponder(responder, folder)
    rewarder = VerifyRewarder(method="exact")
    return Collector(ZooReader(queries), pool, watched, folder / "cache", rewarder, policy=policy, **where)


def drive(folder: Path, address: str, queries: int, shard_cells: int, live: bool) -> None:
    """Run on a cluster, as the driver."""
    pools = {"respond": ActorPool(3, 3), "reward": ActorPool(2, 2)}
    run = collector(folder, queries, *candidates(live), address=address, shard_cells=shard_cells, pools=pools)
    run.collect(folder / "records.parquet")


def candidates(live: bool) -> tuple[Responder, tuple[str, ...]]:
    """Responder and names: two of the zoo's models, or two that answer at once."""
    if live:
        return HuggingFaceResponder(Sampling(temperature=0.0, max_new_tokens=12), device="cpu"), ZOO
    return EchoResponder(), ("a", "b")


def table(folder: Path) -> pa.Table:
    """The recorded table in a fixed order, without the time that responses took."""
    rows = pq.read_table(folder / "records.parquet").drop_columns(["seconds"])
    return rows.sort_by([("candidate", "ascending"), ("query_id", "ascending"), ("sample", "ascending")])


@dataclass
class Disturber:
    """Start drivers on a cluster until one ends by itself, and kill workers, nodes and drivers meanwhile.

    Attributes:
        cluster: of `ray.cluster_utils`.
        folder: of the run.
        arguments: of `drive`, after folder and address.
        rng: chooses moments and victims.
        kills: what was killed so far.
    """

    cluster: Any
    folder: Path
    arguments: tuple[object, ...]
    rng: random.Random
    kills: list[str] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)

    def run(self, victims: Sequence[str], longest_wait: float, deadline: float = 1_800.0) -> None:
        """Kill each victim ("worker", "node" or "driver") in turn, then let the run end."""
        end, driver = time.monotonic() + deadline, self._start_driver()
        for victim in victims:
            has_been_killed = False
            while not has_been_killed and driver.poll() is None:  # a worker may have ended meanwhile
                self._wait_for_call(driver, end)
                time.sleep(self.rng.uniform(0.0, longest_wait))
                if victim == "driver" and driver.poll() is None:
                    driver.kill()
                    driver.wait()
                    driver, has_been_killed = self._start_driver(), True
                elif victim == "node":
                    node = self.nodes.pop(self.rng.randrange(len(self.nodes)))
                    self.cluster.remove_node(node, allow_graceful=False)
                    self.nodes.append(self.cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES))
                    has_been_killed = True
                elif victim == "worker":
                    has_been_killed = self._kill_worker()
            self.kills += [victim] if has_been_killed else []
        code = driver.wait(timeout=max(1.0, end - time.monotonic()))
        assert code == 0, (self.folder / "driver.log").read_text()[-3_000:]

    def _wait_for_call(self, driver: "subprocess.Popen[bytes]", end: float) -> None:
        """Wait until a candidate is asked again, or the run has ended."""
        before = len(logged_calls(self.folder))
        while driver.poll() is None and len(logged_calls(self.folder)) == before:
            assert time.monotonic() < end, "no call was made"
            time.sleep(0.02)

    def _start_driver(self) -> "subprocess.Popen[bytes]":
        values = [str(self.folder), self.cluster.address, *map(str, self.arguments)]
        with (self.folder / "driver.log").open("ab") as log:  # Ray reports each death at length
            return subprocess.Popen([sys.executable, __file__, *values], stdout=log, stderr=log)

    def _kill_worker(self) -> bool:
        """Kill one of the actors that have made calls; False if all of them have ended."""
        callers = sorted({int(line.split()[0]) for line in logged_calls(self.folder)})
        living = [pid for pid in callers if _is_actor(pid)]
        if living:
            os.kill(self.rng.choice(living), signal.SIGKILL)
        return bool(living)


def _is_actor(pid: int) -> bool:
    """Whether a process lives and is an actor of Ray."""
    try:
        return b"ray::" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


if __name__ == "__main__":
    drive(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "True")
