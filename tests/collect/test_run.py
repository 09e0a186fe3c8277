"""Live runs from queries to a recorded table, and which cells a changed setting computes again."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.collecting import QUERIES, FakeReader, LengthRewarder, ShoutingResponder, collector, rows
from support.fake_server import Reply, chat, error_reply, serving
from support.paths import ROOT

from zooter.collect.respond import FillPolicy
from zooter.collect.responder.openai import OpenAIResponder
from zooter.collect.responder.protocol import Request
from zooter.collect.run import TABLE_SCHEMA
from zooter.data import response_table, reward_table
from zooter.data.pool import Candidate, Pool
from zooter.data.split import Split
from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError, ResponderError, StoreError


def test_the_recorded_table_holds_a_row_per_response(tmp_path: Path) -> None:
    collector(tmp_path, truth=LengthRewarder(2.0)).collect(tmp_path / "records.parquet")
    table = rows(tmp_path / "records.parquet")
    assert [(row["candidate"], row["query"]) for row in table] == [(c, q.text) for c in "ba" for q in QUERIES]
    assert table[1] == {
        "query_id": "2", "query": "two", "candidate": "b", "sample": 0, "response": "b TWO",
        "reward": 5.0, "truth": 10.0,
        "reference": "2", "tags": ["count", "even"], "finish_reason": "stop", "margin": 0.5,
        "first_tokens": [{"token": "b", "logprob": -0.25}, {"token": "c", "logprob": -2.0}], "input_tokens": 3,
        "output_tokens": 6, "cost": 9e-6, "seconds": 0.1, "rewarder": '{"factor": 1.0, "rewarder": "length"}',
    }  # fmt: skip
    assert table[4]["cost"] == pytest.approx((3 * 1.0 + 6 * 2.0) / 1e6)
    assert table[2]["reward"] is None


def test_a_table_of_a_live_run_can_be_trained_from(tmp_path: Path) -> None:
    collector(tmp_path).collect(tmp_path / "records.parquet")
    table = reward_table.read(tmp_path / "records.parquet")
    assert table.queries == ["one", "two"]
    assert table.dropped == 1
    assert table.rewards.candidates == ("a", "b")
    assert table.rewards.values.tolist() == [[5.0, 5.0], [5.0, 5.0]]
    assert table.tags.names == ("count", "even")


def test_a_second_run_computes_nothing_and_writes_the_same(tmp_path: Path) -> None:
    collector(tmp_path).collect(tmp_path / "first.parquet")
    shout, length = ShoutingResponder(), LengthRewarder()
    collector(tmp_path, responder=shout, rewarder=length, policy=FillPolicy(max_attempts=1)).collect(
        tmp_path / "second.parquet"
    )
    assert (shout.calls, length.calls) == ([], [])
    assert rows(tmp_path / "second.parquet") == rows(tmp_path / "first.parquet")


def test_a_response_without_a_reward_is_tried_again_up_to_the_limit(tmp_path: Path) -> None:
    for expected in (6, 2, 2, 0):
        length = LengthRewarder()
        collector(tmp_path, rewarder=length).collect(tmp_path / "r.parquet")
        assert len(length.calls) == expected
    assert rows(tmp_path / "r.parquet")[2]["reward"] is None


@dataclass(frozen=True)
class SumRewarder:
    """Sum of parts, each less its mean over the training rows."""

    parts: Mapping[str, Any]
    means: Mapping[str, float] = field(default_factory=dict)

    def identity(self) -> Mapping[str, object]:
        return {"parts": [dict(part.identity()) for part in self.parts.values()]}

    def reward(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        raise AssertionError("a combination is made of its parts' cells")

    def with_scales(self, rewards: Mapping[str, Floats], train: Any = None) -> "SumRewarder":
        return SumRewarder(self.parts, {name: float(np.nanmean(values[train])) for name, values in rewards.items()})

    def combine(self, rewards: Mapping[str, Floats]) -> Floats:
        return sum((rewards[name] - self.means[name] for name in self.parts), start=np.float64(0))  # type: ignore[return-value]


def test_the_parts_of_a_combination_are_cells_of_their_own(tmp_path: Path) -> None:
    texts = [f"{'x' * i} query" for i in range(20)]
    reader = FakeReader(tuple(Query(text, text, "r") for text in texts))
    split = Split()
    collector(tmp_path, reader=reader, rewarder=LengthRewarder(1.0)).collect(tmp_path / "one.parquet")
    parts = {"one": LengthRewarder(1.0), "ten": LengthRewarder(10.0)}
    collector(tmp_path, reader=reader, rewarder=SumRewarder(parts), split=split, policy=FillPolicy(samples=1)).collect(
        tmp_path / "sum.parquet"
    )
    assert (len(parts["one"].calls), len(parts["ten"].calls)) == (0, 40)
    length = np.array([len(f"b {text}") for text in texts], dtype=float)
    mean = length[~split.is_test(texts)].mean()
    rewards = [row["reward"] for row in rows(tmp_path / "sum.parquet") if row["candidate"] == "a"]
    assert rewards == pytest.approx((11 * (length - mean)).tolist())


def test_another_rewarder_asks_no_candidate_and_both_are_kept(tmp_path: Path) -> None:
    collector(tmp_path).collect(tmp_path / "first.parquet")
    shout, length = ShoutingResponder(), LengthRewarder(3.0)
    collector(tmp_path, responder=shout, rewarder=length).collect(tmp_path / "second.parquet")
    assert shout.calls == []
    assert len(length.calls) == 6
    back = LengthRewarder()
    collector(tmp_path, rewarder=back, policy=FillPolicy(max_attempts=1)).collect(tmp_path / "third.parquet")
    assert back.calls == []
    assert rows(tmp_path / "third.parquet") == rows(tmp_path / "first.parquet")


def test_a_failed_call_is_a_row_without_response_and_reward(tmp_path: Path) -> None:
    shout = ShoutingResponder(silent=frozenset({("a", "two")}))
    length = LengthRewarder()
    collector(tmp_path, responder=shout, rewarder=length, policy=FillPolicy(max_failures=0.5)).collect(
        tmp_path / "r.parquet"
    )
    row = rows(tmp_path / "r.parquet")[4]
    assert (row["candidate"], row["query"], row["response"], row["reward"]) == ("a", "two", None, None)
    assert len(length.calls) == 5
    assert np.isnan(reward_table.read(tmp_path / "r.parquet").rewards.values[1, 0])


def test_until_respond_leaves_the_rewards_out(tmp_path: Path) -> None:
    length = LengthRewarder()
    collector(tmp_path, rewarder=length).collect(tmp_path / "r.parquet", until="respond")
    assert length.calls == []
    assert {row["reward"] for row in rows(tmp_path / "r.parquet")} == {None}


def test_a_response_that_changes_nothing_but_its_candidate_is_rewarded_once(tmp_path: Path) -> None:
    """A reward depends on the response and not on the candidate."""

    @dataclass(frozen=True)
    class ConstantResponder(ShoutingResponder):
        async def respond(self, requests: Sequence[Request]) -> AsyncGenerator[Response, None]:
            for request in requests:
                yield Response(request.query.id, request.candidate.name, request.sample, "the same")

    length = LengthRewarder()
    collector(tmp_path, reader=FakeReader(QUERIES[:2]), responder=ConstantResponder(), rewarder=length).collect(
        tmp_path / "r.parquet"
    )
    assert len(length.calls) == 2


def test_a_table_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken.parquet").mkdir()
    (tmp_path / "taken.parquet" / "inside").write_text("x")
    with pytest.raises(StoreError, match=r"to write .*taken.parquet"):
        collector(tmp_path).collect(tmp_path / "taken.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "taken.parquet"]


CANARY = "canary-3f9a71c2"


def echoing(body: dict[str, Any], number: int) -> Reply:
    """Repeat the key in an error message, as some servers do."""
    text = body["messages"][-1]["content"]
    return error_reply(400, f"key {CANARY} may not ask this") if text == "two" else chat(f"{text}!")


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
        live = collector(
            tmp_path, pool=pool, responder=OpenAIResponder(backoff=0.001), policy=FillPolicy(max_failures=0.9)
        )
        live.collect(tmp_path / "r.parquet")
        assert server.headers[0]["authorization"] == f"Bearer {CANARY}"
        with pytest.raises(ResponderError) as refused:
            replace(live, policy=FillPolicy(max_failures=0.1, max_attempts=9)).collect(tmp_path / "r2.parquet")
    with serving(lambda b, n: error_reply(401, f"wrong key {CANARY}")) as server:
        pool = Pool((Candidate("z", url=server.url, key_env="CANARY_KEY"),))
        with pytest.raises(ResponderError, match=r"wrong key \*\*\*") as fatal:
            replace(live, pool=pool).collect(tmp_path / "r3.parquet")
    seen = [repr(live), caplog.text, *capsys.readouterr(), json.dumps(pool.to_rows())]
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
    assert [name for name in TABLE_SCHEMA.names if f"`{name}`" not in described] == []


def test_several_references_are_recorded_and_read_again(tmp_path: Path) -> None:
    queries = (Query("1", "one", "1", (), ("uno", "eins")), Query("2", "two", "2"), Query("3", "three"))
    collector(tmp_path, reader=FakeReader(queries)).collect(tmp_path / "r.parquet")
    assert [row["reference"] for row in rows(tmp_path / "r.parquet")][:3] == [["1", "uno", "eins"], ["2"], None]
    table = response_table.read(tmp_path / "r.parquet")
    assert [query.references for query in table.queries] == [("1", "uno", "eins"), ("2",), ()]


HOLD = """
import sys, time
from pathlib import Path
from zooter.data.locks import exclusive
with exclusive(Path(sys.argv[1]), "cache of responses"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_live_run_asks_nothing_and_says_who_holds_the_cache(tmp_path: Path) -> None:
    collector(tmp_path).collect(tmp_path / "first.parquet")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "cache")], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    shout, length = ShoutingResponder(), LengthRewarder(3.0)
    try:
        started = time.monotonic()
        with pytest.raises(StoreError, match=rf"cache of responses .*held by process {holder.pid} on .* since 20"):
            collector(tmp_path, responder=shout, rewarder=length).collect(tmp_path / "second.parquet")
        assert time.monotonic() - started < 5.0
        assert (shout.calls, length.calls) == ([], [])
        # Reading is not blocked: neither the table nor the cached responses.
        assert reward_table.read(tmp_path / "first.parquet").queries == ["one", "two"]
        live = collector(tmp_path)
        assert len(live.cells.responses.table()) == 6
    finally:
        holder.kill()
        holder.communicate()
    collector(tmp_path, responder=shout, rewarder=length).collect(tmp_path / "second.parquet")
    assert rows(tmp_path / "second.parquet")[0]["reward"] == 15.0


def test_a_run_that_fails_frees_the_cache(tmp_path: Path) -> None:
    class Broken(ShoutingResponder):
        def identity(self, candidate: object) -> dict[str, object]:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        collector(tmp_path, responder=Broken()).collect(tmp_path / "r.parquet")
    collector(tmp_path).collect(tmp_path / "r.parquet")


def test_a_pool_without_candidates_is_refused_with_the_ways_to_give_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected candidates in the pool; found none; add pool_file=FILE\.yaml, or"):
        collector(tmp_path, pool=Pool(()))
