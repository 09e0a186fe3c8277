"""Shards that the driver makes while actors work: as many as they need, and an error is theirs too."""

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from zooter.collect.engine.cluster_state import ClusterState
from zooter.collect.engine.protocol import count_shards
from zooter.collect.engine.ray_shards import offering
from zooter.errors import StoreError

RAY = SimpleNamespace(put=lambda cells: cells, get=lambda result: result)


def handle(state: ClusterState) -> Any:
    """A state in this process, with the methods of an actor's handle."""
    names = ("offer", "count_offered", "stop")
    return SimpleNamespace(**{name: SimpleNamespace(remote=getattr(state, name)) for name in names})


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zooter.collect.engine.ray_shards.WAIT_SECONDS", 0.001)


def test_a_table_is_made_once_there_is_room_for_its_shard() -> None:
    state, made = ClusterState(1.0), list[int]()

    def tables() -> Iterator[pa.Table]:
        for number in range(4):
            made.append(number)
            yield pa.table({"key": [str(number)]})

    with offering(RAY, handle(state), tables(), ahead=2):
        wait_for(lambda: state.count_offered() == 2)
        time.sleep(0.02)
        assert made == [0, 1]
        state.end_shard(0)
        wait_for(lambda: state.count_offered() == 2)
        assert (made, state.take(0)) == ([0, 1, 2], [])
    assert made == [0, 1, 2]  # nobody waits for the last one


def test_a_table_that_cannot_be_made_stops_the_actors() -> None:
    state, error = ClusterState(1.0), StoreError(expected="a shard", found="nothing", do="delete it")

    def tables() -> Iterator[pa.Table]:
        yield pa.table({"key": ["0"]})
        raise error

    with offering(RAY, handle(state), tables(), ahead=9):
        wait_for(lambda: state.get_error() is error)


def test_shards_are_those_of_each_candidate_by_itself() -> None:
    assert count_shards([5, 0, 4], 4) == 2 + 0 + 1
    assert count_shards([5, 0, 4], None) == 1
