"""The counts and limits that the workers of a cluster share."""

import pickle

from zooter.collect.engine.cluster_state import ClusterState
from zooter.collect.engine.outcomes import Outcomes
from zooter.data.types import Response
from zooter.errors import ConfigError, ResponderError


def outcomes(calls: int, failed: int) -> Outcomes:
    counted = Outcomes()
    for i in range(calls):
        response = Response(str(i), "a", 0, "x", error="broken" if i < failed else None, cost=0.5)
        counted.add_response(response, is_first_attempt=True)
    return counted


def test_failures_of_all_workers_count_together() -> None:
    state = ClusterState(max_failures=0.2)
    assert state.add(1, outcomes(40, 9)) is None  # too few calls to judge
    error = state.add(2, outcomes(40, 9))
    assert isinstance(error, ResponderError)
    assert "found 18 of 80 failed, most often (18×) with: broken" in str(error)
    assert state.add(3, Outcomes()) is error  # all workers are told
    assert state.get_outcomes().spending.dollars == 40.0


def test_cells_in_flight_are_those_of_open_shards_that_are_not_done() -> None:
    state = ClusterState(max_failures=1.0)
    state.start_shard(1, 10)
    state.start_shard(2, 10)
    state.add(1, outcomes(4, 1))
    assert state.get_counts()[1] == 16
    state.start_shard(1, 10)  # its worker died
    state.end_shard(2)
    assert state.get_counts()[1] == 10


def test_a_shard_is_there_from_its_offer_until_it_is_done_and_then_nobody_takes_it_again() -> None:
    state = ClusterState(max_failures=1.0)
    assert state.take(0) is None
    state.offer(0, ["cells"])
    state.start_shard(0, 10)
    assert state.take(0) == ["cells"]  # for the worker that repeats it, too
    assert state.count_offered() == 1
    state.end_shard(0)
    assert state.take(0) == []
    assert state.count_offered() == 0


def test_the_first_error_of_a_worker_is_kept_and_crosses_processes() -> None:
    state, error = ClusterState(max_failures=1.0), ConfigError(expected="a", found="b", do="c")
    state.stop(error)
    state.stop(ConfigError(expected="later", found="b", do="c"))
    copy = pickle.loads(pickle.dumps(state.get_error()))
    assert (type(copy), str(copy), copy.do) == (ConfigError, str(error), "c")
