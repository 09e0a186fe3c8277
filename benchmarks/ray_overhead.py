"""Compare engine=ray with engine=local at equal cores: `python benchmarks/ray_overhead.py [QUERIES]`.

The embedded candidates answer QUERIES each here, by one thread of this process and then by one actor with one thread on
a Ray that is started here. Counted are the seconds between the first call and the end, and the CPU seconds that all
processes take meanwhile, Ray's own among them. Start-up, that is, all before the first call, is shown apart.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.table import Table

from zooter.collect.engine.local import LocalEngine
from zooter.collect.engine.protocol import Engine
from zooter.collect.engine.ray import ActorPool, RayEngine
from zooter.collect.reader.zoo import ZooReader
from zooter.collect.responder.huggingface import HuggingFaceResponder
from zooter.collect.responder.protocol import Request, Sampling
from zooter.collect.run import Collector
from zooter.data.pool import Candidate, Pool
from zooter.data.types import Response

ROOT = Path(__file__).resolve().parents[1]
ZOO = ("abacus", "almanac", "atlas", "clerk", "page", "sage", "scribe", "sphinx")
SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class TimedResponder:
    """Leave a file when the first call is made."""

    inner: HuggingFaceResponder
    mark: Path

    @property
    def sampling(self) -> Sampling:
        return self.inner.sampling

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return self.inner.identity(candidate)

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        self.mark.touch()
        async for response in self.inner.respond(requests):
            yield response


@dataclass
class CpuMeter:
    """Sum the CPU seconds of this process and of all that it has started."""

    seconds: dict[int, float] = field(default_factory=dict)  # process → its CPU seconds when last seen

    def read(self) -> float:
        """Return the sum so far; what a process did in its last moments is lost."""
        here = psutil.Process()
        for process in [here, *here.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            self.seconds[process.pid] = times.user + times.system
        return sum(self.seconds.values())


def measure(engine: Engine, queries: int) -> tuple[float, float, float]:
    """Return seconds before the first call, seconds after it, and CPU seconds after it."""
    meter, ended = CpuMeter(), threading.Event()
    first: list[float] = []

    def sample() -> None:
        """Note moment and CPU at the first call, and go on reading: processes end."""
        while not ended.wait(SAMPLE_SECONDS):
            cpu = meter.read()
            if mark.exists() and not first:
                first.extend([time.perf_counter(), cpu])

    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / "first call"
        responder = TimedResponder(
            HuggingFaceResponder(Sampling(temperature=0.0, max_new_tokens=12), device="cpu"), mark
        )
        pool = Pool(tuple(Candidate(name, model=str(ROOT / "data" / "zoo" / f"zoo-{name}")) for name in ZOO))
        run = Collector(ZooReader(queries), pool, responder, Path(folder) / "cache", engine=engine)
        thread, started = threading.Thread(target=sample), time.perf_counter()
        thread.start()
        run.collect(Path(folder) / "records.parquet", until="respond")
        end = time.perf_counter()
        ended.set()
        thread.join()
        cpu = meter.read()
    return first[0] - started, end - first[0], cpu - first[1]


def main(queries: int) -> None:
    # Ray's workers give way to all other processes otherwise, which a busy machine would count as overhead.
    os.environ |= {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks")])
    torch.set_num_threads(1)
    ray = RayEngine("local", num_cpus=1, pools={"respond": ActorPool(1, 1)})
    view = Table(title=f"{len(ZOO) * queries:,} calls by one thread")
    for heading in ("engine", "start-up, s", "seconds", "CPU seconds"):
        view.add_column(heading, justify="right")
    rows = []
    for name, engine in (("local", LocalEngine()), ("ray", ray)):
        rows.append(measure(engine, queries))
        view.add_row(name, *(f"{value:.1f}" for value in rows[-1]))
    ratios = [f"{there / here - 1:+.1%}" for here, there in zip(*rows, strict=True)]
    view.add_row("ray over local", "", *ratios[1:])
    Console().print(view)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
