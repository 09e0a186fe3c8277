"""A trained router as a selector."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.table import recorded

from zooter.data.pool import Pool
from zooter.data.types import RouterOutput
from zooter.errors import ConfigError, ExportError
from zooter.evaluation.replay import Replay
from zooter.selector.routing.routed import RoutedSelector

PROBS = {"query 0": (0.7, 0.2, 0.1), "query 1": (0.1, 0.3, 0.6)}
REWARDS = {"query 0": (0.9, 0.8, 0.1), "query 1": (0.2, 0.5, 0.8)}


@dataclass
class Written:
    """A router whose every word a test writes; counts how often it is asked."""

    rewards: bool = True
    pool: Pool = field(default_factory=lambda: Pool.from_names(["a", "b", "c"]))
    facts: dict[str, Any] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def route(self, texts: Sequence[str]) -> RouterOutput:
        self.asked.append(len(texts))
        probs, rewards = (np.array([by_text[text] for text in texts]) for by_text in (PROBS, REWARDS))
        return RouterOutput(probs, self.pool.names, rewards if self.rewards else None)


ROW = {"a": [{"cost": 3.0}], "b": [{"cost": 1.0}], "c": [{"cost": 2.0}]}
TABLE = recorded([ROW, ROW])


def whose(selector: RoutedSelector, table: object = TABLE) -> list[str]:
    decided = Replay(table).run(selector)  # type: ignore[arg-type]
    return [d.selection.response.candidate for d in decided if d.selection.response]


def test_the_likeliest_is_asked_and_the_router_is_charged() -> None:
    router = Written()
    decided = Replay(TABLE).run(RoutedSelector.from_router(router, fee=0.25))
    assert [d.selection.response.candidate for d in decided if d.selection.response] == ["a", "c"]
    assert [d.selection.confidence for d in decided] == [0.7, 0.6]
    assert [d.ledger.cost for d in decided] == [3.25, 2.25]
    assert router.asked == [2]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (0.04, ["a", "c"]),  # .78 .76 .02 | .08 .46 .72
        (0.1, ["b", "c"]),  # .6 .7 -.1 | -.1 .4 .6
        (0.5, ["b", "b"]),  # -.6 .3 -.9 | -1.3 0 -.2
    ],
)
def test_a_price_weight_trades_reward_for_price(weight: float, expected: list[str]) -> None:
    assert whose(RoutedSelector.from_router(Written(), weight)) == expected


def test_all_operating_points_ask_the_router_once() -> None:
    router = Written()
    replay = Replay(recorded([{name: [{**cells[0], "reward": 0.5}] for name, cells in ROW.items()}] * 2))
    costs = [
        sum(d.ledger.cost for d in replay.run(point))
        for point in RoutedSelector.from_router(router).operating_points(replay.table)
    ]
    assert router.asked == [2]
    assert costs == sorted(costs)


def test_the_columns_are_the_routers_whatever_the_order_of_the_pool() -> None:
    turned = replace(TABLE, pool=Pool.from_names(["c", "a"]))
    assert whose(RoutedSelector.from_router(Written()), turned) == ["a", "c"]


def test_a_failed_call_falls_to_the_next_in_the_routers_order() -> None:
    table = recorded([{**ROW, "a": [{"error": "down"}]}])
    decided = Replay(table).run(RoutedSelector.from_router(Written()))[0]
    assert decided.selection.response is not None
    assert (decided.selection.response.candidate, decided.ledger.calls) == ("b", {"a": 1, "b": 1})


def test_a_candidate_that_the_router_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\['zed'\] in the pool"):
        whose(RoutedSelector.from_router(Written()), recorded([{**ROW, "zed": [{}]}]))


def test_weighing_without_prices_or_rewards_is_refused() -> None:
    unpriced = recorded([{"a": [{"cost": 1.0}], "b": [{}], "c": [{"cost": 1.0}]}])
    with pytest.raises(ConfigError, match=r"none of \['b'\]"):
        whose(RoutedSelector.from_router(Written(), 0.1), unpriced)
    with_price = replace(RoutedSelector.from_router(Written(), 0.1), prices={"b": 0.1})
    assert whose(with_price, unpriced) == ["a"]
    with pytest.raises(ConfigError, match="tells none"):
        whose(RoutedSelector.from_router(Written(rewards=False), 0.1))
    with pytest.raises(ConfigError, match=r"RoutedSelector\.price_weight to be greater"):
        RoutedSelector(price_weight=-0.1)


def test_no_export_and_a_wrong_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`export` of the selector"):
        whose(RoutedSelector())
    with pytest.raises(ExportError, match="export"):
        whose(RoutedSelector(tmp_path))


def test_fitting_chooses_the_price_weight_for_a_target() -> None:
    rows = recorded([{name: [{**cells[0], "reward": 0.5 + (name == "a") / 4}] for name, cells in ROW.items()}] * 2)
    selector = replace(RoutedSelector.from_router(Written()), mean_price=1.5)
    fitted = selector.fit(rows, rows)
    assert sum(d.ledger.cost for d in Replay(rows).run(fitted)) == 3.0  # b and c
    assert fitted.price_weight is not None
    assert fitted.price_weight > 0.0
    assert RoutedSelector.from_router(Written()).fit(rows, rows).price_weight is None
