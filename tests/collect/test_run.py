"""A live run from queries to a recorded table, and what of it is computed again when something changes."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.fake_server import Reply, chat, complaint, serving
from support.paths import ROOT

from zooter.collect import estimate
from zooter.collect.respond import FillPolicy
from zooter.collect.responder.openai import OpenAIResponder
from zooter.collect.responder.protocol import Request, Sampling
from zooter.collect.responder.replay import ReplayResponder
from zooter.collect.run import RECORDS, Collector
from zooter.data import reward_table
from zooter.data.pool import Candidate, Pool
from zooter.data.split import Split
from zooter.data.types import Floats, Query, Response
from zooter.errors import ResponderError, StoreError

QUERIES = (Query("1", "one", "1", ("count",)), Query("2", "two", "2", ("count", "even")), Query("3", "three"))


@dataclass(frozen=True)
class Given:
    """A reader of what it is given."""

    queries: tuple[Query, ...] = QUERIES

    def read(self) -> list[Query]:
        return list(self.queries)


@dataclass(frozen=True)
class Shout:
    """Candidates that say the query in capitals with their name; those in `silent` fail."""

    sampling: Sampling = field(default_factory=Sampling)
    silent: frozenset[tuple[str, str]] = frozenset()
    calls: list[str] = field(default_factory=list)

    def identity(self, candidate: Candidate) -> Mapping[str, object]:
        return {"model": candidate.name, "sampling": self.sampling.told()}

    async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
        for request in requests:
            name, text = request.candidate.name, request.query.text
            self.calls.append(f"{name}/{text}")
            error = "silence" if (name, text) in self.silent else None
            yield Response(request.query.id, name, request.sample, f"{name} {text.upper()}", "stop", 0.5,
                           len(text), 2 * len(text), None, 0.1, error, (("b", -0.25), ("c", -2.0)))  # fmt: skip


@dataclass(frozen=True)
class Length:
    """Rewards long responses; none without a reference."""

    factor: float = 1.0
    calls: list[str] = field(default_factory=list)

    def identity(self) -> Mapping[str, object]:
        return {"rewarder": "length", "factor": self.factor}

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        assert [query.id for query in queries] == [response.query_id for response in responses]
        self.calls.extend(response.text for response in responses)
        return np.array(
            [self.factor * len(r.text) if q.reference else np.nan for q, r in zip(queries, responses, strict=True)]
        )


def live(folder: Path, **parts: Any) -> Collector:
    pool = Pool((Candidate("b", price=1.0), Candidate("a", input_price=1.0, output_price=2.0)))
    given = {"reader": Given(), "pool": pool, "responder": Shout(), "cache_dir": folder / "cache", "rewarder": Length()}
    return Collector(**{**given, **parts})


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def test_the_recorded_table_holds_a_row_per_response(tmp_path: Path) -> None:
    live(tmp_path, truth=Length(2.0)).run(tmp_path / "records.parquet")
    found = rows(tmp_path / "records.parquet")
    assert [(row["candidate"], row["query"]) for row in found] == [(c, q.text) for c in "ba" for q in QUERIES]
    assert found[1] == {
        "query_id": "2", "query": "two", "candidate": "b", "sample": 0, "response": "b TWO",
        "reward": 5.0, "truth": 10.0,
        "reference": "2", "tags": ["count", "even"], "finish_reason": "stop", "margin": 0.5,
        "first_tokens": [{"token": "b", "logprob": -0.25}, {"token": "c", "logprob": -2.0}], "input_tokens": 3,
        "output_tokens": 6, "cost": 9e-6, "seconds": 0.1, "rewarder": '{"factor": 1.0, "rewarder": "length"}',
    }  # fmt: skip
    assert found[4]["cost"] == pytest.approx((3 * 1.0 + 6 * 2.0) / 1e6)
    assert found[2]["reward"] is None


def test_what_a_live_run_writes_can_be_trained_from(tmp_path: Path) -> None:
    live(tmp_path).run(tmp_path / "records.parquet")
    table = reward_table.read(tmp_path / "records.parquet")
    assert table.queries == ["one", "two"]
    assert table.dropped == 1
    assert table.rewards.candidates == ("a", "b")
    assert table.rewards.values.tolist() == [[5.0, 5.0], [5.0, 5.0]]
    assert table.tags.names == ("count", "even")


def test_a_second_run_computes_nothing_and_writes_the_same(tmp_path: Path) -> None:
    live(tmp_path).run(tmp_path / "first.parquet")
    shout, length = Shout(), Length()
    live(tmp_path, responder=shout, rewarder=length, rules=FillPolicy(max_attempts=1)).run(tmp_path / "second.parquet")
    assert (shout.calls, length.calls) == ([], [])
    assert rows(tmp_path / "second.parquet") == rows(tmp_path / "first.parquet")


def test_a_response_without_a_reward_is_tried_again_up_to_the_limit(tmp_path: Path) -> None:
    for expected in (6, 2, 2, 0):
        length = Length()
        live(tmp_path, rewarder=length).run(tmp_path / "r.parquet")
        assert len(length.calls) == expected
    assert rows(tmp_path / "r.parquet")[2]["reward"] is None


@dataclass(frozen=True)
class Sum:
    """Two parts, each less its mean over the training rows."""

    parts: Mapping[str, Any]
    means: Mapping[str, float] = field(default_factory=dict)

    def identity(self) -> Mapping[str, object]:
        return {"parts": [dict(part.identity()) for part in self.parts.values()]}

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        raise AssertionError("a combination is made of its parts' cells")

    def with_scales(self, rewards: Mapping[str, Floats], train: Any = None) -> "Sum":
        return Sum(self.parts, {name: float(np.nanmean(values[train])) for name, values in rewards.items()})

    def combine(self, rewards: Mapping[str, Floats]) -> Floats:
        return sum((rewards[name] - self.means[name] for name in self.parts), start=np.float64(0))  # type: ignore[return-value]


def test_the_parts_of_a_combination_are_cells_of_their_own(tmp_path: Path) -> None:
    texts = [f"{'x' * i} query" for i in range(20)]
    reader = Given(tuple(Query(text, text, "r") for text in texts))
    split = Split()
    live(tmp_path, reader=reader, rewarder=Length(1.0)).run(tmp_path / "one.parquet")
    parts = {"one": Length(1.0), "ten": Length(10.0)}
    live(tmp_path, reader=reader, rewarder=Sum(parts), split=split, rules=FillPolicy(samples=1)).run(
        tmp_path / "sum.parquet"
    )
    assert (len(parts["one"].calls), len(parts["ten"].calls)) == (0, 40)
    length = np.array([len(f"b {text}") for text in texts], dtype=float)
    mean = length[~split.is_test(texts)].mean()
    found = [row["reward"] for row in rows(tmp_path / "sum.parquet") if row["candidate"] == "a"]
    assert found == pytest.approx((11 * (length - mean)).tolist())


def test_another_rewarder_asks_no_candidate_and_both_are_kept(tmp_path: Path) -> None:
    live(tmp_path).run(tmp_path / "first.parquet")
    shout, length = Shout(), Length(3.0)
    live(tmp_path, responder=shout, rewarder=length).run(tmp_path / "second.parquet")
    assert shout.calls == []
    assert len(length.calls) == 6
    back = Length()
    live(tmp_path, rewarder=back, rules=FillPolicy(max_attempts=1)).run(tmp_path / "third.parquet")
    assert back.calls == []
    assert rows(tmp_path / "third.parquet") == rows(tmp_path / "first.parquet")


def test_a_failed_call_is_a_row_without_response_and_reward(tmp_path: Path) -> None:
    shout = Shout(silent=frozenset({("a", "two")}))
    length = Length()
    live(tmp_path, responder=shout, rewarder=length, rules=FillPolicy(max_failures=0.5)).run(tmp_path / "r.parquet")
    found = rows(tmp_path / "r.parquet")[4]
    assert (found["candidate"], found["query"], found["response"], found["reward"]) == ("a", "two", None, None)
    assert len(length.calls) == 5
    assert np.isnan(reward_table.read(tmp_path / "r.parquet").rewards.values[1, 0])


def test_until_respond_leaves_the_rewards_out(tmp_path: Path) -> None:
    length = Length()
    live(tmp_path, rewarder=length).run(tmp_path / "r.parquet", until="respond")
    assert length.calls == []
    assert {row["reward"] for row in rows(tmp_path / "r.parquet")} == {None}


def test_a_response_that_changes_nothing_but_its_candidate_is_rewarded_once(tmp_path: Path) -> None:
    """Rewards belong to what was said, whoever said it."""

    @dataclass(frozen=True)
    class Same(Shout):
        async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
            for request in requests:
                yield Response(request.query.id, request.candidate.name, request.sample, "the same")

    length = Length()
    live(tmp_path, reader=Given(QUERIES[:2]), responder=Same(), rewarder=length).run(tmp_path / "r.parquet")
    assert len(length.calls) == 2


def test_recorded_responses_are_replayed_in_the_place_of_candidates(tmp_path: Path) -> None:
    live(tmp_path).run(tmp_path / "first.parquet")
    replayed = ReplayResponder(tmp_path / "first.parquet")
    live(tmp_path, responder=replayed, cache_dir=tmp_path / "other").run(tmp_path / "second.parquet")
    assert rows(tmp_path / "second.parquet") == rows(tmp_path / "first.parquet")


def test_first_tokens_are_replayed_from_json_lines(tmp_path: Path) -> None:
    told = [{"token": " Paris", "logprob": -0.1}, {"token": "the", "logprob": -3}]
    lines = [
        {"query": "one", "candidate": "a", "reward": 1, "response": "x", "first_tokens": told},
        {"query": "two", "candidate": "a", "reward": 1, "response": "y"},
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    requests = [Request(query, Candidate("a")) for query in QUERIES[:2]]

    async def collect() -> list[Response]:
        return [response async for response in ReplayResponder(tmp_path / "r.jsonl").respond(requests)]

    assert [found.first_tokens for found in asyncio.run(collect())] == [((" Paris", -0.1), ("the", -3.0)), None]


def test_a_response_that_was_not_recorded_fails(tmp_path: Path) -> None:
    live(tmp_path).run(tmp_path / "first.parquet")
    request = Request(Query("x", "unheard"), Candidate("a"))

    async def collect() -> list[Response]:
        return [response async for response in ReplayResponder(tmp_path / "first.parquet").respond([request])]

    assert [response.error for response in asyncio.run(collect())] == ["no such response is recorded"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken.parquet").mkdir()
    (tmp_path / "taken.parquet" / "inside").write_text("x")
    with pytest.raises(StoreError, match=r"to write .*taken.parquet"):
        live(tmp_path).run(tmp_path / "taken.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "taken.parquet"]


# --- the plan --------------------------------------------------------------------------------------------------------


def test_a_plan_asks_nothing_and_counts_what_is_missing(tmp_path: Path) -> None:
    shout, length = Shout(Sampling(max_new_tokens=100)), Length()
    asking = live(tmp_path, responder=shout, rewarder=length)
    first = estimate.estimate_run(asking)
    assert (shout.calls, length.calls) == ([], [])
    assert not (tmp_path / "cache").exists()
    by_hand = [("respond", "b", 3, 3), ("respond", "a", 3, 3), ("reward", "b", 3, 3), ("reward", "a", 3, 3)]
    assert [(line.stage, line.candidate, line.cells, line.missing) for line in first] == by_hand
    letters = len("one") + len("two") + len("three")
    assert first[0].input_tokens == pytest.approx(letters / 4)
    assert first[0].output_tokens == 300
    assert first[0].guessed
    assert first[1].cost == pytest.approx((round(letters / 4) * 1.0 + 300 * 2.0) / 1e6)


def test_a_plan_estimates_from_what_is_stored(tmp_path: Path) -> None:
    live(tmp_path).run(tmp_path / "r.parquet")
    more = Given((*QUERIES, Query("4", "fourfour")))
    lines = estimate.estimate_run(live(tmp_path, reader=more))
    assert [line.missing for line in lines] == [1, 1, 2, 2]
    assert lines[0].input_tokens == pytest.approx(8)  # a token per letter, as in the stored ones
    assert lines[0].output_tokens == pytest.approx(2 * (3 + 3 + 5) / 3)
    assert not lines[0].guessed


def test_a_plan_of_a_finished_run_is_empty(tmp_path: Path) -> None:
    live(tmp_path).run(tmp_path / "r.parquet")
    assert [line.missing for line in estimate.estimate_run(live(tmp_path))] == [0, 0, 1, 1]  # "three" has no reward yet
    once = FillPolicy(max_attempts=1)
    assert [(line.missing, line.given_up) for line in estimate.estimate_run(live(tmp_path, rules=once))][2:] == [
        (0, 1),
        (0, 1),
    ]
    assert estimate.estimate_table(estimate.estimate_run(live(tmp_path))).row_count == 4


# --- keys ------------------------------------------------------------------------------------------------------------

CANARY = "canary-3f9a71c2"


def echoing(body: dict[str, Any], number: int) -> Reply:
    """A server that repeats the key in its complaints, as some do."""
    text = body["messages"][-1]["content"]
    return complaint(400, f"key {CANARY} may not ask this") if text == "two" else chat(f"{text}!")


def test_a_key_is_in_no_file_log_exception_or_repr(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CANARY_KEY", CANARY)
    caplog.set_level(logging.DEBUG)
    with serving(echoing) as server:
        pool = Pool((Candidate("a", url=server.url, key_env="CANARY_KEY", price=1.0),))
        asking = live(tmp_path, pool=pool, responder=OpenAIResponder(backoff=0.001), rules=FillPolicy(max_failures=0.9))
        asking.run(tmp_path / "r.parquet")
        assert server.headers[0]["authorization"] == f"Bearer {CANARY}"
        with pytest.raises(ResponderError) as refused:
            replace(asking, rules=FillPolicy(max_failures=0.1, max_attempts=9)).run(tmp_path / "r2.parquet")
    with serving(lambda b, n: complaint(401, f"wrong key {CANARY}")) as server:
        pool = Pool((Candidate("z", url=server.url, key_env="CANARY_KEY"),))
        with pytest.raises(ResponderError, match=r"wrong key \*\*\*") as fatal:
            replace(asking, pool=pool).run(tmp_path / "r3.parquet")
    seen = [repr(asking), caplog.text, *capsys.readouterr(), json.dumps(pool.to_rows())]
    for error in (refused, fatal):
        cause: BaseException | None = error.value
        while cause is not None:
            seen += [str(cause), repr(cause), repr(getattr(cause, "request", ""))]
            assert CANARY not in str(vars(cause))
            cause = cause.__cause__
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    texts = [str(pq.read_table(path).to_pylist()) for path in tmp_path.rglob("*.parquet")]
    assert any("***" in text for text in texts)
    assert CANARY.encode() not in written
    assert not [text for text in [*seen, *texts] if CANARY in text]


@pytest.mark.parametrize(
    "field",
    [{"key_env": f"sk-{CANARY}"}, {"url": f"https://user:{CANARY}@host/v1"}, {"url": f"https://host/v1?key={CANARY}"}],
)
def test_a_key_in_the_wrong_place_is_refused_without_being_shown(field: dict[str, str]) -> None:
    from zooter.errors import ConfigError

    with pytest.raises(ConfigError, match="not shown") as refused:
        Candidate("a", **field)  # type: ignore[arg-type]
    assert CANARY not in str(refused.value)


def test_the_schema_of_a_live_run_is_the_public_format() -> None:
    described = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert [name for name in RECORDS.names if f"`{name}`" not in described] == []
