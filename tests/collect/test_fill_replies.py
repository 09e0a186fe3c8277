"""Replies of a judge or tagger that are asked for in shards."""

from pathlib import Path

from support.fake_responder import FakeResponder
from support.sharded_engine import ShardedEngine

from zooter.collect.fill_replies import fill_replies
from zooter.collect.llm import CachedLLM
from zooter.data.pool import Candidate


def test_replies_are_asked_for_once_and_failures_are_left_to_the_model_itself(tmp_path: Path) -> None:
    responder = FakeResponder(lambda text: RuntimeError("down") if text == "b" else text.upper())
    llm = CachedLLM(responder, Candidate("m"), tmp_path, max_failures=0.5, max_attempts=9)
    outcomes: list[int] = []

    class Engine(ShardedEngine):
        def run(self, job, tables):  # type: ignore[no-untyped-def]
            for table in tables:
                job.work(table, lambda latest: outcomes.append(latest.failed), None)

    fill_replies(llm, ["a", "b", "c"], Engine(shard_cells=5))
    assert outcomes == [1]
    assert sorted(responder.asked) == ["a", "b", "c"]
    assert llm.ask(["a", "b", "c"]) == ["A", None, "C"]
    assert responder.asked.count("a") == 1
