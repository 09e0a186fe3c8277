"""Measure the speeds of asking and of the cache, as ratios: `python benchmarks/respond.py [MODEL_FOLDER …]`.

The folders are candidates of the zoo, at least two; without any, random models of the same kind are made. The HTTP
server answers after 200 ms from a process of its own.
"""

import asyncio
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.fake_server import chat, serving
from support.tiny import causal_folder

from zooter.collect.respond import FillPolicy, respond
from zooter.collect.responder.huggingface import HuggingFaceResponder
from zooter.collect.responder.openai import OpenAIResponder
from zooter.collect.responder.protocol import Request, Responder, Sampling
from zooter.data.cache import RESPONSES, ResponseCache
from zooter.data.content_keys import response_keys
from zooter.data.pool import Candidate, Pool
from zooter.data.shards import KEY
from zooter.data.store import Store
from zooter.data.types import Query, Response

CALLS, SECONDS, CONCURRENCY = 1_000, 0.2, 64
IDEAL = CALLS * SECONDS / CONCURRENCY


def queries(n: int) -> list[Query]:
    rng = np.random.default_rng(0)
    return [
        Query(str(i), f"What is {a} plus {b}? This is question {i}.")
        for i, (a, b) in enumerate(rng.integers(999, size=(n, 2)))
    ]


async def _asked(responder: Responder, requests: Sequence[Request]) -> int:
    return sum([response.error is None async for response in responder.respond(requests)])


def timed(responder: Responder, requests: Sequence[Request]) -> float:
    started = time.perf_counter()
    answered = asyncio.run(_asked(responder, requests))
    if answered != len(requests):
        raise SystemExit(f"{answered} of {len(requests)} calls were answered")
    return time.perf_counter() - started


def batched(folder: Path, n: int = 256) -> tuple[float, float]:
    """Measure seconds per response one at a time, and in batches."""
    requests = [Request(query, Candidate("zoo", model=str(folder))) for query in queries(n)]
    sampling = Sampling(max_new_tokens=20)
    timed(HuggingFaceResponder(sampling), requests[:8])  # imports
    alone = timed(HuggingFaceResponder(sampling, batch_size=1), requests[: n // 4]) / (n // 4)
    return alone, timed(HuggingFaceResponder(sampling), requests) / n


def add_candidate(folders: Sequence[Path], cache: Path, n: int = 1_000) -> tuple[float, float]:
    """Measure seconds of a run with one new candidate beside stored ones, and of its responses alone."""
    pool = Pool(tuple(Candidate(f"zoo{i}", model=str(folder)) for i, folder in enumerate(folders)))
    responder, asked_queries = HuggingFaceResponder(Sampling(max_new_tokens=20)), queries(n)
    respond(asked_queries, Pool(pool.candidates[:-1]), responder, ResponseCache(cache), FillPolicy())
    alone_seconds = timed(responder, [Request(query, pool.candidates[-1]) for query in asked_queries])
    started = time.perf_counter()
    respond(asked_queries, pool, responder, ResponseCache(cache), FillPolicy())
    return time.perf_counter() - started, alone_seconds


def _serve(address: "multiprocessing.Queue[str]") -> None:
    with serving(lambda body, number: chat("answer", delay=SECONDS)) as server:
        address.put(server.url)
        time.sleep(3_600)


def concurrent() -> tuple[float, float]:
    """Measure seconds of 1,000 calls (median of five), and seconds of CPU per call."""
    address: multiprocessing.Queue[str] = multiprocessing.Queue()
    process = multiprocessing.Process(target=_serve, args=(address,), daemon=True)
    process.start()
    try:
        candidate = Candidate("a", url=address.get())
        requests = [Request(query, candidate) for query in queries(CALLS)]
        cpu_seconds = time.process_time()
        seconds = [timed(OpenAIResponder(concurrency=CONCURRENCY), requests) for _ in range(5)]
        return statistics.median(seconds), (time.process_time() - cpu_seconds) / (len(seconds) * CALLS)
    finally:
        process.kill()


def rerun_complete(cache: Path, n: int = 5_000, m: int = 8) -> tuple[float, int]:
    """Measure seconds and calls of a run whose responses are all stored."""
    with serving(lambda body, number: chat("answer")) as answers:
        pool = Pool(tuple(Candidate(f"c{i}", url=answers.url) for i in range(m)))
        responder, asked_queries = OpenAIResponder(), queries(n)
        cells = ResponseCache(cache)
        for candidate in pool.candidates:  # stored without asking
            store_column(cells, asked_queries, candidate, responder)
        started = time.perf_counter()
        respond(asked_queries, pool, responder, cells, FillPolicy())
        return time.perf_counter() - started, len(answers.bodies)


def store_column(
    cells: ResponseCache, asked_queries: Sequence[Query], candidate: Candidate, responder: Responder
) -> None:
    keys = response_keys(responder.identity(candidate), asked_queries, 0)
    cells.add_responses(
        [
            (key, Response(query.id, candidate.name, 0, "answer"))
            for key, query in zip(keys, asked_queries, strict=True)
        ],
        {candidate.name: "{}"},
    )


def time_missing(folder: Path, shards: int, cells: int = 1_000_000, new: int = 10_000) -> float:
    """Measure seconds of `Store.missing` for new keys beside a million stored responses of 300 letters."""
    store, each = Store(folder), cells // shards
    rng = np.random.default_rng(1)
    for _ in range(shards):
        keys = [row.tobytes().hex() for row in rng.integers(256, size=(each, 16), dtype=np.uint8)]
        columns = {name: pa.nulls(each, RESPONSES.field(name).type) for name in RESPONSES.names}
        store.append(pa.table({**columns, KEY: keys, "text": [key * 9 for key in keys]}, schema=RESPONSES))
    new_keys = [f"{i:032x}" for i in range(new)]
    started = time.perf_counter()
    if len(store.missing(new_keys)) != new:
        raise SystemExit("keys that were never stored are there")
    return time.perf_counter() - started


def main(folders: list[Path]) -> None:
    torch.set_num_threads(1)
    view = Table(title="asking")
    for heading in ("what", "measured", "bound"):
        view.add_column(heading, justify="left" if heading == "what" else "right")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        like_the_zoo = {"positions": 256, "hidden": 96, "layers": 3}
        folders = folders or [causal_folder(root / f"m{seed}", seed, **like_the_zoo) for seed in range(3)]
        alone, together = batched(folders[0])
        view.add_row("batched over one at a time", f"{alone / together:.1f}× ({1 / together:.0f}/s)", "≥ 4×")
        grown, alone_seconds = add_candidate(folders, root / "grown")
        view.add_row(
            "one candidate more, over its own generation", f"{grown / alone_seconds:.2f}× ({grown:.1f} s)", "≤ 1.2×"
        )
        seconds, cpu_seconds = concurrent()
        view.add_row(f"{CALLS:,} calls of 200 ms, {CONCURRENCY} at a time, over the ideal {IDEAL:.2f} s",
                      f"{seconds / IDEAL:.2f}× ({seconds:.2f} s)", "≤ 1.2× of 3.2 s")  # fmt: skip
        view.add_row(
            "processor time of one of them", f"{cpu_seconds * 1e3:.2f} ms", f"{SECONDS / CONCURRENCY * 1e3:.1f} ms"
        )
        seconds, calls = rerun_complete(root / "again")
        view.add_row("nothing missing of 5,000 × 8 cells", f"{seconds:.1f} s, {calls} calls", "≤ 15 s, 0 calls")
        for shards in (1, 64, 4_000):
            seconds = time_missing(root / f"million{shards}", shards)
            view.add_row(
                f"missing() of 10,000 beside 1,000,000 cells in {shards:,} shards", f"{seconds:.1f} s", "≤ 5 s"
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    view.add_row("peak memory of all this", f"{peak:.2f} GiB", "≤ 2 GB")
    Console().print(view)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
