"""Stages on a Ray cluster: the same cells as here, whatever is killed meanwhile."""

import json
import random
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT
from support.ray_faults import STORE_BYTES, Disturber, EchoResponder, collector, logged_calls, table

from zooter.errors import ResponderError

# Looked for, not imported: that takes seconds also where these tests are left out.
pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")]
QUERIES, SHARD = 60, 8


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without work and three nodes of one CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT / 'tests'}")  # workers import what tests share
        patch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray writes a token into the home folder
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES})
        cluster.workers = [cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES) for _ in range(3)]
        yield cluster
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()
        cluster.shutdown()


def test_whatever_is_killed_the_table_is_that_of_an_undisturbed_local_run(cluster: Any, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    collector(whole, QUERIES, EchoResponder(0.0), ("a", "b")).collect(whole / "records.parquet")
    disturber = Disturber(cluster, killed, (QUERIES, SHARD, False), random.Random(0), nodes=cluster.workers)
    disturber.run(["worker", "node", "driver"], longest_wait=0.1)
    assert set(disturber.kills) == {"worker", "node", "driver"}
    assert table(killed).equals(table(whole))
    calls = logged_calls(killed)
    assert not [line for line in calls if line.endswith("again")]
    # Each kill loses the shards under way: one of the worker or the node, three of the driver's actors.
    assert 2 * QUERIES <= len(calls) <= 2 * QUERIES + 5 * SHARD


def test_too_many_failures_stop_the_cluster_and_what_was_answered_is_kept(cluster: Any, tmp_path: Path) -> None:
    from support.ray_failures import FailingResponder

    run = collector(tmp_path, 400, FailingResponder(), ("a",), address=cluster.address, shard_cells=50,
                    progress=tmp_path / "progress.jsonl")  # fmt: skip
    with pytest.raises(ResponderError, match=r"at most 20% of the calls to 'a' to fail; .* with: broken"):
        run.collect(tmp_path / "records.parquet")
    assert 0 < len(run.cells.responses.table()) < 400
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert lines[-1]["cells"] == 400
    assert 0 < lines[-1]["failed"] <= lines[-1]["done"] < 400
