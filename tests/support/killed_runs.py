"""Runs that tests kill: what a child process imports here is loaded in the process that it is forked from."""

from pathlib import Path

from zooter.collect.respond import FillPolicy, respond
from zooter.collect.responder.openai import OpenAIResponder
from zooter.data.cache import ResponseCache
from zooter.data.pool import Candidate, Pool
from zooter.data.types import Query

CELLS, BATCH, CONCURRENCY = 600, 8, 8


def fill_cells(url: str, folder: Path) -> dict[str, list[str]]:
    """Fill all cells of two candidates behind a server; return the keys of each."""
    pool = Pool(tuple(Candidate(name, url=url) for name in "ab"))
    responder = OpenAIResponder(concurrency=CONCURRENCY, backoff=0.001)
    queries = [Query(f"id{i}", f"text {i}") for i in range(CELLS // 2)]
    return respond(queries, pool, responder, ResponseCache(folder), FillPolicy(batch=BATCH))
