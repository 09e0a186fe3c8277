"""Responses ranked by a judge of pairs whose replies the test writes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.collecting import QUERIES, collector, rows
from support.fake_responder import FakeResponder

from zooter.collect import estimate
from zooter.collect.rewarder.judge import JudgeRewarder
from zooter.collect.rewarder.ranking import RankingRewarder
from zooter.data.pool import Candidate
from zooter.data.types import Query, Response
from zooter.errors import ConfigError

RUBRIC = "Q {query} | {first} | {second} |"
QUERY = Query("1", "q")
GOODNESS = {"bad": 0.0, "fair": 1.0, "good": 3.0}


def mark(text: str) -> str:
    """Mark by the difference in goodness, with one mark for the first position, which both orders cancel."""
    _, first, second, *_ = (part.strip() for part in text.split("|"))
    return json.dumps({"reward": 5.5 + GOODNESS[first] - GOODNESS[second] + 1.0})


def ranking(answer: object = mark, **options: object) -> RankingRewarder:
    responder = FakeResponder(answer)  # type: ignore[arg-type]
    return RankingRewarder(JudgeRewarder(responder, Candidate("judge"), RUBRIC, **options))  # type: ignore[arg-type]


def asked(rewarder: RankingRewarder) -> list[str]:
    return rewarder.judge.responder.asked  # type: ignore[attr-defined, no-any-return]


def responses(*texts: str) -> tuple[list[Query], list[Response]]:
    return [QUERY] * len(texts), [Response("1", f"m{i}", 0, text) for i, text in enumerate(texts)]


def test_a_reward_is_the_mean_mark_against_all_others_in_both_orders() -> None:
    rewarder = ranking()
    rewards = rewarder.reward(*responses("bad", "good", "fair"))
    # 5.5 + the mean difference: (−3 − 1) / 2, (3 + 2) / 2, (1 − 2) / 2
    np.testing.assert_allclose(rewards, [3.5, 8.0, 5.0])
    assert len(asked(rewarder)) == 3 * 2


def test_equal_texts_are_a_tie_and_judged_once() -> None:
    rewarder = ranking()
    np.testing.assert_allclose(rewarder.reward(*responses("fair", "fair", "bad")), [6.0, 6.0, 4.5])
    assert len(asked(rewarder)) == 2


def test_what_has_nothing_to_be_compared_with_is_a_tie_and_a_failed_response_has_no_reward() -> None:
    failed = Response("1", "m1", 0, "", error="timeout")
    rewarder = ranking()
    rewards = rewarder.reward([QUERY] * 2, [Response("1", "m0", 0, "bad"), failed])
    np.testing.assert_equal(rewards, [5.5, np.nan])
    assert asked(rewarder) == []


def test_responses_to_different_queries_are_not_compared() -> None:
    other = Query("2", "p")
    rewards = ranking().reward([QUERY, other], [Response("1", "a", 0, "bad"), Response("2", "a", 0, "good")])
    assert rewards.tolist() == [5.5, 5.5]


def test_a_comparison_without_a_mark_counts_in_no_mean() -> None:
    def answer(text: str) -> str:
        return "unreadable" if "bad" in text else mark(text)

    rewards = ranking(answer, max_failures=1.0).reward(*responses("bad", "good", "fair"))
    np.testing.assert_equal(rewards, [np.nan, 7.5, 3.5])


def test_a_judge_of_single_responses_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"judge_pairs\.yaml"):
        RankingRewarder(JudgeRewarder(FakeResponder(mark), Candidate("judge"), "Q {query} {response}"))


def test_a_live_run_compares_the_candidates_and_plans_the_calls(tmp_path: Path) -> None:
    def longer_first(text: str) -> str:
        _, first, second, *_ = re.split(r" \| ?", text)
        return json.dumps({"reward": 9 if first > second else 2})

    rewarder = ranking(longer_first, cache_dir=tmp_path / "cache")
    live = collector(tmp_path, rewarder=rewarder)
    plan = [line for line in estimate.estimate_run(live) if line.stage == "reward"]
    assert [(line.candidate, line.calls, line.pairs) for line in plan] == [("all", 2 * len(QUERIES), len(QUERIES))]
    live.collect(tmp_path / "records.parquet")
    rewards = {(row["candidate"], row["query"]): row["reward"] for row in rows(tmp_path / "records.parquet")}
    for query in ("one", "two"):
        assert (rewards["b", query], rewards["a", query]) == (9.0, 2.0)
    calls = len(asked(rewarder))
    collector(tmp_path, rewarder=rewarder).collect(tmp_path / "again.parquet")
    assert len(asked(rewarder)) == calls, "replies are kept"
    assert [line.calls for line in estimate.estimate_run(live) if line.stage == "reward"] == [0]
