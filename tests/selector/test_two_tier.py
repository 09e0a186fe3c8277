"""Two tiers, and one of them chosen from the query alone."""

from collections.abc import Sequence

import numpy as np
import pytest
from support.table import recorded

from zooter.data.types import Floats, Query, Response
from zooter.errors import ConfigError
from zooter.evaluation.replay import Replay, ReplayedAsk, run_synchronously
from zooter.selector.budget import EscalationThreshold
from zooter.selector.two_tier import TwoTier

ROW = {
    "mid": [{"text": "m", "reward": 0.6, "cost": 2.0}],
    "cheap": [{"text": "c", "reward": 0.5, "cost": 1.0}],
    "best": [{"text": "b", "reward": 0.9, "cost": 5.0}],
}


def test_the_cheapest_and_the_best_of_the_others_are_the_tiers() -> None:
    tiers = TwoTier.choose(recorded([ROW]), None, None)
    assert (tiers.names, tiers.prices, tiers.means) == (("cheap", "best"), (1.0, 5.0), (0.5, 0.9))
    assert TwoTier.choose(recorded([ROW]), "best", None).names == ("best", "mid")
    assert TwoTier.choose(recorded([ROW]), None, "cheap").names == ("mid", "cheap")


@pytest.mark.parametrize("names", [("cheap", "cheap"), ("none", "best"), ("cheap", "none")])
def test_tiers_that_are_not_two_candidates_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="two different candidates among"):
        TwoTier.choose(recorded([ROW]), *names)
    with pytest.raises(ConfigError, match="two different candidates"):
        TwoTier.choose(recorded([{"a": [{"reward": 1.0}]}]), None, None)
    with pytest.raises(ConfigError, match="two different candidates"):
        TwoTier.choose(recorded([{"a": [{"reward": 1.0}]}]), None, "a")


def test_a_low_score_goes_to_the_large_tier_and_a_failed_call_to_the_other() -> None:
    down = {**ROW, "best": [{"text": "", "error": "down", "reward": np.nan, "cost": 5.0}]}
    table = recorded([ROW, ROW, down])
    tiers = TwoTier.choose(table, "cheap", "best")
    state = tiers.start_stream(EscalationThreshold(online_threshold=False, fixed=(0.5,)), None, None)
    asks = [ReplayedAsk(Replay(table), row) for row in range(3)]
    selections = [
        run_synchronously(tiers.route(ask, state, score)).response
        for ask, score in zip(asks, (0.5, 0.6, 0.1), strict=True)
    ]
    assert [response.text for response in selections if response] == ["b", "c", "c"]
    assert asks[2].ledger.calls == {"best": 1, "cheap": 1}


def test_without_budget_left_no_candidate_is_asked() -> None:
    table = recorded([ROW, ROW, ROW])
    tiers = TwoTier.choose(table, "cheap", "best")
    state = tiers.start_stream(EscalationThreshold(), 2.0 / 3.0, 3)  # two dollars for three queries
    asks = [ReplayedAsk(Replay(table), row) for row in range(3)]
    selections = [run_synchronously(tiers.route(ask, state, 0.0)) for ask in asks]
    assert [selection.response and selection.response.text for selection in selections] == ["c", "c", None]
    assert [ask.ledger.cost for ask in asks] == [1.0, 1.0, 0.0]


class Sure:
    """Scores every answer the same."""

    name, fee = "sure", 0.25

    def __init__(self, value: float) -> None:
        self.value = value

    def score(self, queries: Sequence[Query], responses: Sequence[Response]) -> Floats:
        return np.full(len(responses), self.value)


def test_a_cascade_escalates_below_the_threshold_or_after_a_failed_call() -> None:
    small_down = {**ROW, "cheap": [{"text": "", "error": "down", "reward": np.nan, "cost": 1.0}]}
    large_down = {**ROW, "best": [{"text": "", "error": "down", "reward": np.nan, "cost": 5.0}]}
    table = recorded([ROW, ROW, small_down, large_down])
    tiers = TwoTier.choose(table, "cheap", "best")
    fixed = EscalationThreshold(online_threshold=False, fixed=(0.5,))
    asks = [ReplayedAsk(Replay(table), row) for row in range(4)]
    selections = [
        run_synchronously(
            tiers.cascade(ask, tiers.start_stream(fixed, None, None, routing=False), Sure(score))
        ).response
        for ask, score in zip(asks, (0.6, 0.4, 0.6, 0.4), strict=True)
    ]
    assert [response.text for response in selections if response] == ["c", "b", "b", "c"]
    assert [ask.ledger.cost for ask in asks] == [1.25, 6.25, 6.0, 6.25]
