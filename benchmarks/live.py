"""Compare the time of a live cascade with the ideal: `python benchmarks/live.py`.

200 queries, a small candidate and a large one behind one server, which answers after 200 ms from a process of its own
and takes 32 calls at a time; the margins escalate 40 % of the queries. For comparison, as many calls without any
selector, all posted at the start: the most that this machine can do at the moment.

Then the zoo's two tiers, which run in this process, with few queries in flight: the effect of keeping models loaded.
"""

import asyncio
import math
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.fake_server import Reply, chat, serving

from zooter.collect.reader.zoo import ZooReader
from zooter.collect.responder.huggingface import HuggingFaceResponder, LocalModel
from zooter.collect.responder.openai import OpenAIResponder
from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.pool import Candidate, Pool
from zooter.data.types import Query
from zooter.evaluation.live import LiveEvaluator
from zooter.selector.budget import EscalationThreshold
from zooter.selector.cascade.margin import MarginSelector

ZOO = Path(__file__).resolve().parents[1] / "data" / "zoo"
QUERIES, SHARE, SECONDS, CONCURRENCY = 200, 0.4, 0.2, 32
IDEAL = QUERIES * (1 + SHARE) * SECONDS / CONCURRENCY


def answer(body: dict[str, Any], number: int) -> Reply:
    """Answer two queries of five with a margin of 0.1, the others with 0.8."""
    unsure = int(body["messages"][-1]["content"].split()[-1]) % 5 < 5 * SHARE
    first, second = (0.5, 0.4) if unsure else (0.9, 0.1)
    top = [{"token": "A", "logprob": math.log(first)}, {"token": "B", "logprob": math.log(second)}]
    logprobs = {"content": [{"token": "A", "logprob": math.log(first), "top_logprobs": top}]}
    return chat("A", delay=SECONDS, logprobs=logprobs)


def _serve(address: "multiprocessing.Queue[str]") -> None:
    with serving(answer) as server:
        address.put(server.url)
        time.sleep(3_600)


def cascade(url: str) -> tuple[float, float]:
    """Run the cascade, and return its seconds and this process's seconds of CPU."""
    pool = Pool((Candidate("small", price=1.0, url=url), Candidate("large", price=5.0, url=url)))
    evaluator = LiveEvaluator(pool, OpenAIResponder(concurrency=CONCURRENCY))
    selector = MarginSelector(("small", "large"), threshold=EscalationThreshold(online_threshold=False, fixed=(0.5,)))
    queries = [Query(str(i), f"This is query {i}") for i in range(QUERIES)]
    started, cpu_seconds = time.perf_counter(), time.process_time()
    selections = asyncio.run(evaluator.run(selector, queries))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_seconds
    calls = [recorded.ledger.calls.total() for recorded in selections]
    if calls.count(2) != QUERIES * SHARE or any(recorded.ledger.failed for recorded in selections):
        raise SystemExit(f"{calls.count(2)} of {QUERIES} went on")
    return seconds, cpu_seconds


def plain(url: str) -> float:
    """Make as many calls at once, and return their seconds."""
    candidate = Candidate("small", url=url)
    count = int(QUERIES * (1 + SHARE))
    requests = [Request(Query(str(i), f"This is query {i}"), candidate) for i in range(count)]

    async def ask() -> int:
        return sum(
            [recorded.error is None async for recorded in OpenAIResponder(concurrency=CONCURRENCY).respond(requests)]
        )

    started = time.perf_counter()
    if asyncio.run(ask()) != count:
        raise SystemExit("a call failed")
    return time.perf_counter() - started


def local(keep_bytes: float) -> tuple[int, float]:
    """Run a local cascade, and return how often models were loaded and this process's seconds of CPU."""
    pool = Pool(tuple(Candidate(name, price=1.0, model=str(ZOO / name)) for name in ("zoo-page", "zoo-sage")))
    sampling = Sampling(temperature=0.0, max_new_tokens=12)
    evaluator = LiveEvaluator(pool, HuggingFaceResponder(sampling, device="cpu", keep_bytes=keep_bytes), in_flight=16)
    selector = MarginSelector(pool.names, threshold=EscalationThreshold(online_threshold=False, fixed=(0.5,)))
    with patch.object(LocalModel, "load", wraps=LocalModel.load) as load:
        cpu_seconds = time.process_time()
        asyncio.run(evaluator.run(selector, ZooReader(QUERIES).read()))
        return load.call_count, time.process_time() - cpu_seconds


def main() -> None:
    address: multiprocessing.Queue[str] = multiprocessing.Queue()
    process = multiprocessing.Process(target=_serve, args=(address,), daemon=True)
    process.start()
    try:
        url = address.get()
        runs_and_calls = [(cascade(url), plain(url)) for _ in range(5)]
    finally:
        process.kill()
    runs, calls = sorted(run for run, _ in runs_and_calls), sorted(run for _, run in runs_and_calls)
    view = Table(title=f"{QUERIES} queries through a cascade, {SHARE:.0%} go on, {CONCURRENCY} calls at a time")
    for heading in ("of 5 runs", "seconds", "over the ideal", "bound", "processor"):
        view.add_column(heading, justify="left" if heading == "of 5 runs" else "right")
    for name, (seconds, cpu_seconds) in (("best", runs[0]), ("median", runs[2]), ("worst", runs[4])):
        view.add_row(name, f"{seconds:.2f}", f"{seconds / IDEAL:.2f}×", "≤ 1.3×", f"{cpu_seconds:.2f} s")
    for name, seconds in (("best, calls alone", calls[0]), ("median, calls alone", calls[2])):
        view.add_row(name, f"{seconds:.2f}", f"{seconds / IDEAL:.2f}×", "", "")
    view.add_row("ideal", f"{IDEAL:.2f}", "", "", "")
    Console().print(view)
    local_view = Table(title=f"{QUERIES} queries through zoo-page and zoo-sage, 16 in flight")
    for heading in ("weights", "loads", "processor"):
        local_view.add_column(heading, justify="left" if heading == "weights" else "right")
    local(0.0)  # imports what generates
    for name, keep_bytes in (("stay loaded", 4e9), ("go after each call", 0.0)):
        loads, cpu_seconds = local(keep_bytes)
        local_view.add_row(name, str(loads), f"{cpu_seconds:.1f} s")
    Console().print(local_view)


if __name__ == "__main__":
    main()
