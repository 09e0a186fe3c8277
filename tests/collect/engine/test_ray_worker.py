"""Shards that are run again: what one of their parts holds is not computed twice."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from support.collecting import LengthRewarder, ShoutingResponder, collector, rows
from support.sharded_engine import ShardedEngine

from zooter.collect.engine.ray_worker import shard_name
from zooter.collect.respond import FillPolicy


def test_a_run_in_shards_makes_the_table_of_a_local_run_with_each_call_once(tmp_path: Path) -> None:
    collector(tmp_path / "local").collect(tmp_path / "local.parquet")
    engine, responder, rewarder = ShardedEngine(), ShoutingResponder(), LengthRewarder()
    run = collector(tmp_path / "shards", engine=engine, responder=responder, rewarder=rewarder)
    run.collect(tmp_path / "shards.parquet")
    assert rows(tmp_path / "shards.parquet") == rows(tmp_path / "local.parquet")
    assert sorted(responder.calls) == ["a/one", "a/three", "a/two", "b/one", "b/three", "b/two"]
    assert len(rewarder.calls) == 6
    run.collect(tmp_path / "shards.parquet")
    assert len(responder.calls) == 6


def test_a_failed_cell_is_not_asked_again_with_its_shard_but_by_the_next_run(tmp_path: Path) -> None:
    responder = ShoutingResponder(silent=frozenset({("a", "two")}))
    run = collector(tmp_path, engine=ShardedEngine(), responder=responder, policy=FillPolicy(max_failures=0.5))
    for times in (1, 2):
        run.collect(tmp_path / "records.parquet")
        assert responder.calls.count("a/two") == times
    assert len(responder.calls) == 7
    replace(run, responder=ShoutingResponder()).collect(tmp_path / "records.parquet")
    assert all(row["response"] for row in rows(tmp_path / "records.parquet"))


def test_the_name_of_a_shard_depends_on_its_cells_and_their_attempts_alone() -> None:
    cells = pa.table({"key": ["a", "b"], "attempts": [0, 0]})
    assert shard_name(cells) == shard_name(pa.concat_tables([cells.slice(0, 1), cells.slice(1)]))
    others = [cells.slice(1), pa.table({"key": ["a", "b"], "attempts": [0, 1]}), pa.table({"key": ["a", "b"]})]
    assert len({shard_name(table) for table in [cells, *others]}) == 4
