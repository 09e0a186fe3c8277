"""Estimates of a live run."""

from pathlib import Path

import pytest
from support.collecting import QUERIES, FakeReader, LengthRewarder, ShoutingResponder, collector

from zooter.collect import estimate
from zooter.collect.respond import FillPolicy
from zooter.collect.responder.protocol import Sampling
from zooter.data.types import Query


def test_a_plan_asks_nothing_and_counts_what_is_missing(tmp_path: Path) -> None:
    shout, length = ShoutingResponder(Sampling(max_new_tokens=100)), LengthRewarder()
    live = collector(tmp_path, responder=shout, rewarder=length)
    first = estimate.estimate_run(live)
    assert (shout.calls, length.calls) == ([], [])
    assert not (tmp_path / "cache").exists()
    expected = [("respond", "b", 3, 3), ("respond", "a", 3, 3), ("reward", "b", 3, 3), ("reward", "a", 3, 3)]
    assert [(line.stage, line.candidate, line.cells, line.missing) for line in first] == expected
    characters = len("one") + len("two") + len("three")
    assert first[0].input_tokens == pytest.approx(characters / 4)
    assert first[0].output_tokens == 300
    assert first[0].guessed
    assert first[1].cost == pytest.approx((round(characters / 4) * 1.0 + 300 * 2.0) / 1e6)


def test_a_plan_estimates_from_what_is_stored(tmp_path: Path) -> None:
    collector(tmp_path).collect(tmp_path / "r.parquet")
    more = FakeReader((*QUERIES, Query("4", "fourfour")))
    lines = estimate.estimate_run(collector(tmp_path, reader=more))
    assert [line.missing for line in lines] == [1, 1, 2, 2]
    assert lines[0].input_tokens == pytest.approx(8)  # a token per character, as in the stored ones
    assert lines[0].output_tokens == pytest.approx(2 * (3 + 3 + 5) / 3)
    assert not lines[0].guessed


def test_a_plan_of_a_finished_run_is_empty(tmp_path: Path) -> None:
    collector(tmp_path).collect(tmp_path / "r.parquet")
    assert [line.missing for line in estimate.estimate_run(collector(tmp_path))] == [
        0,
        0,
        1,
        1,
    ]  # "three" has no reward yet
    once = FillPolicy(max_attempts=1)
    assert [(line.missing, line.given_up) for line in estimate.estimate_run(collector(tmp_path, policy=once))][2:] == [
        (0, 1),
        (0, 1),
    ]
    assert estimate.estimate_table(estimate.estimate_run(collector(tmp_path))).row_count == 4
