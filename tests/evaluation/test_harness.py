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

    def at(self, budget: float, queries: int) -> "Half":
        return Half([round((budget - 1.0) / 2.0 * queries, 6)])

    async def select(self, query: Query, ask: Ask) -> Selection:
        self.left[0] -= 1.0
        return Selection((await ask("b" if self.left[0] >= 0.0 else "a"))[0])


@dataclass(frozen=True)
class Named:
    """Always one of them; its settings are all of them."""

    name: str = "a"
    needs: ClassVar[Needs] = Needs()

    def settings(self, validation: ResponseTable) -> list["Named"]:
        return [replace(self, name=name) for name in validation.pool.names]

    async def select(self, query: Query, ask: Ask) -> Selection:
        return Selection((await ask(self.name))[0])


@dataclass(frozen=True)
class Picky:
    needs: Needs

    async def select(self, query: Query, ask: Ask) -> Selection:
        raise AssertionError("it ran")


# -- the table


def test_cells_that_nobody_can_judge_and_queries_without_others_are_left_out_and_counted() -> None:
    found, cells, queries = harness.drop_unmeasurable(table([1, math.nan, math.nan, 1, 0], [1, 1, math.nan, 0, 1]))
    assert (cells, queries) == (3, 1)
    assert [query.id for query in found.queries] == ["q0", "q1", "q3", "q4"]
    assert [sorted(of) for of in found.cells] == [["a", "b"], ["b"], ["a", "b"], ["a", "b"]]


def test_a_table_without_any_reward_is_refused() -> None:
    with pytest.raises(RecordsError, match="expected a reward or a truth in some row; found none"):
        harness.drop_unmeasurable(table([math.nan] * 5, [math.nan] * 5))


def test_given_prices_of_calls_stand_in_for_recorded_costs() -> None:
    found = harness.with_prices(table(cost=None), {"a": 2})
    assert [of["a"][0].response.cost for of in found.cells] == [2.0] * 5
    assert [of["b"][0].response.cost for of in found.cells] == [3.0] * 5
    assert dict(found.prices) == {"a": 2, "b": 3.0}
    assert harness.with_prices(found, None) is found


@pytest.mark.parametrize("prices", [{"c": 1.0}, {"a": -1.0}, {"a": math.nan}])
def test_prices_of_nobody_and_prices_below_0_are_refused(prices: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="call_prices of 0 or more for candidates among"):
        harness.with_prices(table(), prices)


def test_missing_costs_are_told_with_the_first_query_that_lacks_one() -> None:
    (note,) = harness.table_notes(table(cost=None), 0, 0)
    assert note.startswith("no cost is recorded for responses of 'a', first for the query 'query 0': what depends")
    assert harness.table_notes(table(), 0, 0) == []
    assert [note.split()[0] for note in harness.table_notes(table(), 7, 2)] == ["2", "7"]


def test_every_selector_says_what_it_lacks_before_any_runs() -> None:
    picky = {"first": Picky(Needs(margins=True)), "second": Picky(Needs(samples=4)), "fine": Picky(Needs())}
    with pytest.raises(RecordsError) as caught:
        harness.refuse_lacks(picky, [table(), table()])
    told = str(caught.value)
    assert "first: expected margin in every row for Picky; found none for the query 'query 0' (query 1)" in told
    assert "second: expected 4 samples of every candidate" in told
    assert "fine" not in told
    harness.refuse_lacks({"fine": picky["fine"]}, [table()])


# -- runs and curves


def test_a_run_brings_the_quality_of_what_was_returned() -> None:
    decided, quality = harness.run_selector(Replay(table()), SingleSelector("b"))
    assert quality.tolist() == B
    assert [one.ledger.cost for one in decided] == [3.0] * 5


def test_budgets_are_tried_in_several_orders_and_their_mean_stands_at_each_query() -> None:
    found = harness.operating_curve(Replay(table()), Half(), table(), "b")
    assert found is not None
    assert found.budgets is not None
    assert (found.budgets[0], found.budgets[-1], found.quality.shape) == (1.0, 3.0, (100, 5))
    assert found.quality[0].tolist() == A
    assert found.quality[-1].tolist() == B
    assert found.cost.mean(axis=1) == pytest.approx(1.0 + 2.0 * found.strong.mean(axis=1))
    # 2.212 dollars a query, which is 12.1 beyond the cheap ones: six halves. Three of each stream go to b.
    row = int(np.argmax(found.budgets > 2.2))
    expected = np.zeros(5)
    for seed in range(3):
        for place, i in enumerate(np.random.default_rng(seed).permutation(5)):
            expected[i] += (B if place < 3 else A)[i] / 3
    np.testing.assert_allclose(found.quality[row], expected)


def test_a_selector_that_remembers_nothing_decides_the_same_in_every_order() -> None:
    rows = table([1, 0, 1, 0, 0, 1] * 5, [1, 1, 0, 0, 1, 0] * 5)
    selector = RandomSelector().fit(rows, rows).at(1.7, 30)
    assert not selector.remembers
    orders = [np.random.default_rng(seed).permutation(30).tolist() for seed in range(3)]
    first, *others = [harness._spent(Replay(rows), selector, order, "b") for order in orders]
    assert 0 < first[2].sum() < 30
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_settings_are_tried_one_by_one() -> None:
    found = harness.operating_curve(Replay(table()), Named(), table(), "b")
    assert found is not None
    assert found.budgets is None
    assert found.quality.tolist() == [A, B]
    assert found.cost.tolist() == [[1.0] * 5, [3.0] * 5]
    assert found.strong.tolist() == [[0.0] * 5, [1.0] * 5]


def test_without_a_knob_or_without_prices_there_is_no_curve() -> None:
    assert harness.operating_curve(Replay(table()), SingleSelector("a"), table(), "b") is None
    assert harness.operating_curve(Replay(table(cost=None)), Half(), table(), "b") is None


def test_the_collector_works_on_after_a_replay_also_after_a_failed_one() -> None:
    harness.operating_curve(Replay(table()), Named(), table(), "b")
    assert gc.isenabled()
    with pytest.raises(AssertionError, match="it ran"):
        harness._spent(Replay(table()), Picky(Needs()), [0], "b")
    assert gc.isenabled()
