"""Recorded responses in place of live candidates."""

import asyncio
import json
from pathlib import Path

from support.collecting import QUERIES, collector, rows

from zooter.collect.responder.protocol import Request
from zooter.collect.responder.replay import ReplayResponder
from zooter.data.pool import Candidate
from zooter.data.types import Query, Response


def test_recorded_responses_are_replayed_in_place_of_candidates(tmp_path: Path) -> None:
    collector(tmp_path).collect(tmp_path / "first.parquet")
    replayed = ReplayResponder(tmp_path / "first.parquet")
    collector(tmp_path, responder=replayed, cache_dir=tmp_path / "other").collect(tmp_path / "second.parquet")
    assert rows(tmp_path / "second.parquet") == rows(tmp_path / "first.parquet")


def test_first_tokens_are_replayed_from_json_lines(tmp_path: Path) -> None:
    first_tokens = [{"token": " Paris", "logprob": -0.1}, {"token": "the", "logprob": -3}]
    lines = [
        {"query": "one", "candidate": "a", "reward": 1, "response": "x", "first_tokens": first_tokens},
        {"query": "two", "candidate": "a", "reward": 1, "response": "y"},
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    requests = [Request(query, Candidate("a")) for query in QUERIES[:2]]

    async def collect() -> list[Response]:
        return [response async for response in ReplayResponder(tmp_path / "r.jsonl").respond(requests)]

    assert [response.first_tokens for response in asyncio.run(collect())] == [((" Paris", -0.1), ("the", -3.0)), None]


def test_a_response_that_was_not_recorded_fails(tmp_path: Path) -> None:
    collector(tmp_path).collect(tmp_path / "first.parquet")
    request = Request(Query("x", "unheard"), Candidate("a"))

    async def collect() -> list[Response]:
        return [response async for response in ReplayResponder(tmp_path / "first.parquet").respond([request])]

    assert [response.error for response in asyncio.run(collect())] == ["no such response is recorded"]
