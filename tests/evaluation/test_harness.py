"""Selectors side by side on tables written out by hand."""

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
from support.table import recorded

from zooter.data.response_table import ResponseTable
from zooter.data.types import Query
from zooter.errors import ConfigError, RecordsError
from zooter.evaluation import harness
from zooter.evaluation.replay import Replay
from zooter.selector.baseline.random import RandomSelector
from zooter.selector.baseline.single import SingleSelector
from zooter.selector.protocol import Ask, Needs, Selection

A, B = [1, 0, 0, 1, 0], [1, 1, 0, 0, 1]


def table(a: Sequence[float] = A, b: Sequence[float] = B, cost: float | None = 1.0) -> ResponseTable:
    """Five queries; `a` costs a dollar a call, `b` three."""
    return recorded(
        [{"a": [{"reward": x, "cost": cost}], "b": [{"reward": y, "cost": 3.0}]} for x, y in zip(a, b, strict=True)]
    )


@dataclass(frozen=True)
class Half:
    """Asks `b` for the first queries of its stream, as many as the budget pays for, and `a` for the others."""

    left: list[float] = field(default_factory=lambda: [0.0])
    needs: ClassVar[Needs] = Needs()

    def with_budget(self, budget: float, queries: int) -> "Half":
        return Half([round((budget - 1.0) / 2.0 * queries, 6)])

    async def select(self, query: Query, ask: Ask) -> Selection:
        self.left[0] -= 1.0
        return Selection((await ask("b" if self.left[0] >= 0.0 else "a"))[0])


@dataclass(frozen=True)
class Named:
    """Always asks the same candidate; its operating points are all candidates."""

    name: str = "a"
    needs: ClassVar[Needs] = Needs()

    def operating_points(self, validation: ResponseTable) -> list["Named"]:
        return [replace(self, name=name) for name in validation.pool.names]

    async def select(self, query: Query, ask: Ask) -> Selection:
        return Selection((await ask(self.name))[0])


@dataclass(frozen=True)
class Picky:
    needs: Needs

    async def select(self, query: Query, ask: Ask) -> Selection:
        raise AssertionError("it ran")


# -- the table


def test_cells_without_quality_and_queries_without_other_cells_are_dropped_and_counted() -> None:
    result, cells, queries = harness.drop_unmeasurable(table([1, math.nan, math.nan, 1, 0], [1, 1, math.nan, 0, 1]))
    assert (cells, queries) == (3, 1)
    assert [query.id for query in result.queries] == ["q0", "q1", "q3", "q4"]
    assert [sorted(row) for row in result.cells] == [["a", "b"], ["b"], ["a", "b"], ["a", "b"]]


def test_a_table_without_any_reward_is_refused() -> None:
    with pytest.raises(RecordsError, match="expected a reward or a truth in some row; found none"):
        harness.drop_unmeasurable(table([math.nan] * 5, [math.nan] * 5))


def test_configured_prices_of_calls_replace_recorded_costs() -> None:
    result = harness.with_prices(table(cost=None), {"a": 2})
    assert [row["a"][0].response.cost for row in result.cells] == [2.0] * 5
    assert [row["b"][0].response.cost for row in result.cells] == [3.0] * 5
    assert dict(result.prices) == {"a": 2, "b": 3.0}
    assert harness.with_prices(result, None) is result


@pytest.mark.parametrize("prices", [{"c": 1.0}, {"a": -1.0}, {"a": math.nan}])
def test_prices_of_unknown_candidates_and_prices_below_0_are_refused(prices: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="call_prices of 0 or more for candidates among"):
        harness.with_prices(table(), prices)


def test_missing_costs_are_described_with_the_first_query_that_lacks_one() -> None:
    (note,) = harness.describe_missing(table(cost=None), 0, 0)
    assert note.startswith("no cost is recorded for responses of 'a', first for the query 'query 0': what depends")
    assert harness.describe_missing(table(), 0, 0) == []
    assert [note.split()[0] for note in harness.describe_missing(table(), 7, 2)] == ["2", "7"]


def test_what_every_selector_lacks_is_reported_before_any_runs() -> None:
    picky = {"first": Picky(Needs(margins=True)), "second": Picky(Needs(samples=4)), "fine": Picky(Needs())}
    with pytest.raises(RecordsError) as caught:
        harness.check_needs(picky, [table(), table()])
    message = str(caught.value)
    assert "first: expected margin in every row for Picky; found none for the query 'query 0' (query 1)" in message
    assert "second: expected 4 samples of every candidate" in message
    assert "fine" not in message
    harness.check_needs({"fine": picky["fine"]}, [table()])


# -- runs and curves


def test_a_run_returns_the_quality_of_the_returned_responses() -> None:
    decided, quality = harness.run_selector(Replay(table()), SingleSelector("b"))
    assert quality.tolist() == B
    assert [recorded_selection.ledger.cost for recorded_selection in decided] == [3.0] * 5


def test_budgets_are_tried_in_several_orders_and_averaged_for_each_query() -> None:
    result = harness.operating_curve(Replay(table()), Half(), table(), "b")
    assert result is not None
    assert result.budgets is not None
    assert (result.budgets[0], result.budgets[-1], result.quality.shape) == (1.0, 3.0, (100, 5))
    assert result.quality[0].tolist() == A
    assert result.quality[-1].tolist() == B
    assert result.cost.mean(axis=1) == pytest.approx(1.0 + 2.0 * result.strong.mean(axis=1))
    # 2.212 dollars a query, which is 12.1 beyond the cheap ones: six halves. Three of each stream go to b.
    row = int(np.argmax(result.budgets > 2.2))
    expected = np.zeros(5)
    for seed in range(3):
        for place, i in enumerate(np.random.default_rng(seed).permutation(5)):
            expected[i] += (B if place < 3 else A)[i] / 3
    np.testing.assert_allclose(result.quality[row], expected)


def test_a_selector_without_history_decides_the_same_in_every_order() -> None:
    rows = table([1, 0, 1, 0, 0, 1] * 5, [1, 1, 0, 0, 1, 0] * 5)
    selector = RandomSelector().fit(rows, rows).with_budget(1.7, 30)
    assert not selector.depends_on_order
    orders = [np.random.default_rng(seed).permutation(30).tolist() for seed in range(3)]
    first, *others = [harness._replay_stream(Replay(rows), selector, order, "b") for order in orders]
    assert 0 < first[2].sum() < 30
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_every_operating_point_is_tried() -> None:
    result = harness.operating_curve(Replay(table()), Named(), table(), "b")
    assert result is not None
    assert result.budgets is None
    assert result.quality.tolist() == [A, B]
    assert result.cost.tolist() == [[1.0] * 5, [3.0] * 5]
    assert result.strong.tolist() == [[0.0] * 5, [1.0] * 5]


def test_without_operating_points_or_prices_there_is_no_curve() -> None:
    assert harness.operating_curve(Replay(table()), SingleSelector("a"), table(), "b") is None
    assert harness.operating_curve(Replay(table(cost=None)), Half(), table(), "b") is None


def test_the_garbage_collector_is_enabled_again_after_a_replay_also_after_a_failed_one() -> None:
    harness.operating_curve(Replay(table()), Named(), table(), "b")
    assert gc.isenabled()
    with pytest.raises(AssertionError, match="it ran"):
        harness._replay_stream(Replay(table()), Picky(Needs()), [0], "b")
    assert gc.isenabled()
