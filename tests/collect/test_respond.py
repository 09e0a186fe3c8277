"""Filling cells of responses: missing ones are asked once, and no finished response is lost."""

import os
import random
import signal
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.fake_server import Reply, chat, error_reply, serving
from support.killed_runs import BATCH, CELLS, CONCURRENCY, fill_cells
from support.processes import PROCESSES

from zooter.collect.respond import FillPolicy, plan_responses, respond
from zooter.collect.responder.protocol import Request, Sampling
from zooter.data.cache import ResponseCache
from zooter.data.pool import Candidate, Pool
from zooter.data.types import Query, Response
from zooter.errors import ConfigError, ResponderError

POOL = Pool((Candidate("a"), Candidate("b")))


def queries(n: int, start: int = 0) -> list[Query]:
    return [Query(f"id{i}", f"text {i}") for i in range(start, start + n)]


@dataclass(frozen=True)
class EchoResponder:
    """Answer with the cell's coordinates and list the calls; texts in `failing` fail."""

    sampling: Sampling = field(default_factory=Sampling)
    failing: frozenset[str] = frozenset()
    calls: list[tuple[str, str, int]] = field(default_factory=list)
    fatal_after: int = 10**9
    first_tokens: tuple[tuple[str, float], ...] | None = None

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {"model": candidate.model or candidate.name, "sampling": self.sampling.to_dict()}

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        for request in requests:
            if len(self.calls) >= self.fatal_after:
                raise ResponderError(expected="a key", found="none", do="set it")
            self.calls.append((request.candidate.name, request.query.text, request.sample))
            failed = "broken" if request.query.text in self.failing else None
            text = f"{request.candidate.name}/{request.query.text}/{request.sample}"
            yield Response(request.query.id, request.candidate.name, request.sample, text, error=failed,
                           first_tokens=self.first_tokens)  # fmt: skip


def texts(cells: ResponseCache, keys: Sequence[str]) -> list[str | None]:
    return [response.text if response else None for response in cells.load_responses(keys)]


def test_every_cell_is_asked_once_and_kept(tmp_path: Path) -> None:
    echo, cells = EchoResponder(), ResponseCache(tmp_path)
    keys = respond(queries(3), POOL, echo, cells, FillPolicy(samples=2))
    assert len(echo.calls) == len(set(echo.calls)) == 3 * 2 * 2
    assert texts(cells, keys["b"]) == [f"b/text {i}/{sample}" for sample in range(2) for i in range(3)]
    again = EchoResponder()
    assert respond(queries(3), POOL, again, cells, FillPolicy(samples=2)) == keys
    assert again.calls == []


def test_cells_written_before_there_were_first_tokens_can_be_read(tmp_path: Path) -> None:
    cells = ResponseCache(tmp_path)
    respond(queries(2), POOL, EchoResponder(), cells, FillPolicy())
    for shard in cells.responses.folder.rglob("*.parquet"):
        pq.write_table(pq.read_table(shard).drop_columns(["first_tokens"]), shard)
    echo = EchoResponder()
    keys = respond(queries(2), POOL, echo, cells, FillPolicy())
    assert echo.calls == []
    assert [response and (response.text, response.first_tokens) for response in cells.load_responses(keys["a"])] == [
        ("a/text 0/0", None), ("a/text 1/0", None),
    ]  # fmt: skip
    # Beside newer ones.
    respond(queries(3), POOL, EchoResponder(first_tokens=(("b", -0.5),)), cells, FillPolicy())
    keys = respond(queries(3), POOL, echo, cells, FillPolicy())
    assert [response and response.first_tokens for response in cells.load_responses(keys["a"])] == [
        None,
        None,
        (("b", -0.5),),
    ]


def test_a_new_candidate_costs_its_column_only(tmp_path: Path) -> None:
    respond(queries(3), POOL, EchoResponder(), ResponseCache(tmp_path), FillPolicy())
    echo = EchoResponder()
    respond(queries(3), Pool((*POOL.candidates, Candidate("c"))), echo, ResponseCache(tmp_path), FillPolicy())
    assert {name for name, _, _ in echo.calls} == {"c"}
    assert len(echo.calls) == 3


def test_new_queries_cost_their_rows_only_and_ids_do_not_matter(tmp_path: Path) -> None:
    respond(queries(3), POOL, EchoResponder(), ResponseCache(tmp_path), FillPolicy())
    echo = EchoResponder()
    renamed = [replace(query, id=f"other{i}") for i, query in enumerate(queries(3))]
    respond([*renamed, *queries(2, start=3)], POOL, echo, ResponseCache(tmp_path), FillPolicy())
    assert sorted(echo.calls) == [(name, f"text {i}", 0) for name in "ab" for i in (3, 4)]


def test_another_sampling_makes_new_cells_and_keeps_the_old(tmp_path: Path) -> None:
    cells = ResponseCache(tmp_path)
    old = respond(queries(2), POOL, EchoResponder(), cells, FillPolicy())
    cooler = EchoResponder(Sampling(temperature=0.1))
    respond(queries(2), POOL, cooler, cells, FillPolicy())
    assert len(cooler.calls) == 4
    back = EchoResponder()
    assert respond(queries(2), POOL, back, cells, FillPolicy()) == old
    assert back.calls == []


def test_a_renamed_or_dearer_candidate_is_not_asked_again(tmp_path: Path) -> None:
    respond(queries(2), Pool((Candidate("a", model="m"),)), EchoResponder(), ResponseCache(tmp_path), FillPolicy())
    echo = EchoResponder()
    respond(
        queries(2),
        Pool((Candidate("z", model="m", price=9.0, url="http://x/v1"),)),
        echo,
        ResponseCache(tmp_path),
        FillPolicy(),
    )
    assert echo.calls == []


def test_two_names_of_one_model_share_their_cells(tmp_path: Path) -> None:
    echo, cells = EchoResponder(), ResponseCache(tmp_path)
    keys = respond(queries(2), Pool((Candidate("a", model="m"), Candidate("b", model="m"))), echo, cells, FillPolicy())
    assert len(echo.calls) == 2
    assert keys["a"] == keys["b"]


def test_a_failed_call_is_tried_in_the_next_runs_up_to_the_limit(tmp_path: Path) -> None:
    policy, cells = FillPolicy(max_attempts=2, max_failures=0.5), ResponseCache(tmp_path)
    asked = []
    for _ in range(3):
        echo = EchoResponder(failing=frozenset({"text 1"}))
        keys = respond(queries(4), POOL, echo, cells, policy)
        asked.append(len(echo.calls))
        assert texts(cells, keys["a"]) == ["a/text 0/0", None, "a/text 2/0", "a/text 3/0"]
    assert asked == [8, 2, 0]
    assert plan_responses(queries(4), POOL, EchoResponder(), cells, policy)["a"].given_up == 1
    healed = EchoResponder()
    keys = respond(queries(4), POOL, healed, cells, replace(policy, max_attempts=3))
    assert len(healed.calls) == 2
    assert None not in texts(cells, keys["a"])


def test_too_many_failures_stop_the_run_with_the_most_frequent_reason(tmp_path: Path) -> None:
    failing = frozenset(f"text {i}" for i in range(1_000))
    echo = EchoResponder(failing=failing)
    with pytest.raises(
        ResponderError, match=r"at most 20% of the calls to 'a' to fail; found 50 of 50 .*\(50×\) with: broken"
    ):
        respond(queries(1_000), POOL, echo, ResponseCache(tmp_path), FillPolicy(batch=64))
    assert len(echo.calls) == 50


def test_too_many_failures_of_a_few_queries_stop_the_run_at_the_end(tmp_path: Path) -> None:
    echo = EchoResponder(failing=frozenset({"text 0", "text 1"}))
    with pytest.raises(ResponderError, match="found 2 of 4 failed"):
        respond(queries(4), POOL, echo, ResponseCache(tmp_path), FillPolicy())
    assert len(echo.calls) == 8


def test_repeated_failures_do_not_stop_a_later_run(tmp_path: Path) -> None:
    failing = frozenset(f"text {i}" for i in range(60))
    respond(queries(600), POOL, EchoResponder(failing=failing), ResponseCache(tmp_path), FillPolicy(max_failures=1.0))
    second = EchoResponder(failing=failing)
    respond(queries(600), POOL, second, ResponseCache(tmp_path), FillPolicy(max_failures=0.2))
    assert len(second.calls) == 120


def test_responses_before_a_fatal_error_are_kept(tmp_path: Path) -> None:
    with pytest.raises(ResponderError, match="a key"):
        respond(queries(10), POOL, EchoResponder(fatal_after=7), ResponseCache(tmp_path), FillPolicy(batch=100))
    echo = EchoResponder()
    respond(queries(10), POOL, echo, ResponseCache(tmp_path), FillPolicy())
    assert len(echo.calls) == 20 - 7


def test_several_samples_of_a_greedy_candidate_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a temperature above 0 with several samples"):
        respond(
            queries(1), POOL, EchoResponder(Sampling(temperature=0)), ResponseCache(tmp_path), FillPolicy(samples=2)
        )


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"batch": 0}, {"max_attempts": 0}, {"max_failures": 1.5}])
def test_a_policy_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FillPolicy(**wrong)


# --- kill -9 ---------------------------------------------------------------------------------------------------------


def flaky(body: dict[str, Any], number: int) -> Reply:
    """Give the same answer to the same query always; every 23rd call fails."""
    if number % 23 == 0:
        return error_reply(500, "hiccup")
    # So slowly that the last kill comes before the end: 10 kills take at most 10 × 0.06 s / 0.01 s × 8 = 480 cells.
    return chat(f"{body['model']} says {hash_of(body)}", delay=0.01)


def hash_of(body: dict[str, Any]) -> int:
    return sum(map(ord, body["messages"][-1]["content"])) * 31 + body["seed"]


def test_a_run_that_is_killed_and_continued_ends_with_the_same_table(tmp_path: Path) -> None:
    """`kill -9` of a real process, 10 times; each loses at most the cells that were not written yet."""
    rng = random.Random(0)
    with serving(flaky) as server:
        whole = fill_cells(server.url, tmp_path / "whole")
        calls_of_whole = len(server.bodies)
        cells, kills = ResponseCache(tmp_path / "killed"), 0
        while kills < 10:
            before = len(cells.responses.table(["key"]))
            child = PROCESSES.Process(target=fill_cells, args=(server.url, tmp_path / "killed"))
            child.start()
            arrived, start = len(server.bodies), time.monotonic()
            while len(server.bodies) == arrived and child.is_alive() and time.monotonic() - start < 30:
                time.sleep(0.001)
            time.sleep(rng.uniform(0.0, 0.06))
            if child.is_alive():
                os.kill(child.pid or 0, signal.SIGKILL)
            child.join()
            if child.exitcode != -signal.SIGKILL:
                break  # it has finished
            kills += 1
            assert len(cells.responses.table(["key"])) >= before
        assert kills == 10
        killed = fill_cells(server.url, tmp_path / "killed")
    assert killed == whole
    for name in whole:
        assert texts(cells, killed[name]) == texts(ResponseCache(tmp_path / "whole"), whole[name])
        assert None not in texts(cells, killed[name])
    answered = sum(number % 23 != 0 for number in range(calls_of_whole, len(server.bodies)))
    assert answered - CELLS <= kills * (BATCH + CONCURRENCY)
    assert len(cells.responses.table(["key"])) == CELLS
