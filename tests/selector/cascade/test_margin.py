"""Margin Sampling on tables written out by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.table import recorded

from zooter.data.response_table import ResponseTable
from zooter.errors import ConfigError, RecordsError
from zooter.evaluation.replay import Replay
from zooter.selector.budget import EscalationThreshold
from zooter.selector.cascade.margin import MarginSelector
from zooter.selector.protocol import Budgetable, Fittable, HasOperatingPoints, RecordedSelection

ALWAYS = EscalationThreshold(1.0, warm_up=0)


def table(margins: Sequence[float | None], failed: Sequence[str] = ()) -> ResponseTable:
    """Queries answered by `small` with these margins at 1 dollar, and by `large` at 3."""
    return recorded(
        [
            {
                "small": [{"margin": margin, "cost": None if f"small{i}" in failed else 1.0, "reward": 0.4,
                           "error": "down" if f"small{i}" in failed else None}],
                "large": [{"cost": None if f"large{i}" in failed else 3.0, "reward": 0.9,
                           "error": "down" if f"large{i}" in failed else None}],
            }
            for i, margin in enumerate(margins)
        ]
    )  # fmt: skip


def whose(decided: Sequence[RecordedSelection]) -> list[str | None]:
    return [None if d.selection.response is None else d.selection.response.candidate for d in decided]


def test_a_query_escalates_when_its_margin_is_low_among_those_so_far() -> None:
    # After one of warm-up T = A[⌊n · .5⌋]: .9 | .2 of [.2 .9], T = .9 | .5 of [.2 .5 .9], T = .5 | .1, T = A[2] = .5.
    selector = MarginSelector(("small", "large"), threshold=EscalationThreshold(0.5, warm_up=1))
    decided = Replay(table([0.9, 0.2, 0.5, 0.1])).run(selector)
    assert whose(decided) == ["small", "large", "small", "large"]
    assert [d.ledger.cost for d in decided] == [1.0, 4.0, 1.0, 4.0]
    assert [d.selection.confidence for d in decided] == [0.9, 0.2, 0.5, 0.1]
    assert [len(d.ledger.rounds) for d in decided] == [1, 2, 1, 2]


def test_the_stream_starts_anew_with_each_copy_and_not_with_each_run() -> None:
    selector = MarginSelector(("small", "large"), threshold=EscalationThreshold(1.0, warm_up=1))
    replay = Replay(table([0.5]))
    assert [whose(replay.run(selector)) for _ in range(2)] == [["small"], ["large"]]
    assert whose(replay.run(selector.with_budget(4.0, 1))) == ["large"]
    assert selector.with_budget(4.0, 1).state.tiers is None


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (0.4, ["small", None, None, None]),  # 1.6 dollars: one call of the small one
        (1.0, ["small"] * 4),
        (3.0, ["large"] * 4),
        (99.0, ["large"] * 4),
        # 8 dollars, p = 1/3: .5 stays (A[0] = .5), 7 left; .2 stays, 6 left for 2: the large one at once.
        (2.0, ["small", "small", "large", "large"]),
    ],
)
def test_a_budget_holds_from_below_the_cheapest_to_above_the_dearest(budget: float, expected: list[str | None]) -> None:
    selector = MarginSelector(("small", "large"), threshold=EscalationThreshold(warm_up=0)).with_budget(budget, 4)
    decided = Replay(table([0.5, 0.2, 0.9, 0.1])).run(selector)
    assert whose(decided) == expected
    assert sum(d.ledger.cost for d in decided) <= 4 * budget
    assert [d.selection.why for d in decided if d.selection.response is None] == [
        "the budget is spent"
    ] * expected.count(None)


def test_the_large_one_is_not_asked_at_once_where_it_is_no_better() -> None:
    rows = table([0.5, 0.2])
    worse = MarginSelector(("large", "small"), prices={"small": 3.0, "large": 1.0}, means={"small": 0.4, "large": 0.9})
    stream = worse.with_budget(9.0, 2)
    decided = Replay(recorded([{"large": [{"margin": 0.5}], "small": [{}]}] * 2)).run(stream)
    assert whose(decided) == ["large", "large"]  # p = (1 - .9) / 2, and a warm-up
    assert MarginSelector().fit(rows, rows).means == {"small": pytest.approx(0.4), "large": pytest.approx(0.9)}


def test_a_failed_call_falls_to_the_next_tier_and_a_failed_last_one_to_those_before() -> None:
    rows = table([0.1, 0.1, 0.1], failed=["small0", "large1", "small2", "large2"])
    decided = Replay(rows).run(MarginSelector(("small", "large"), threshold=ALWAYS))
    assert whose(decided) == ["large", "small", None]
    assert [d.ledger.failed for d in decided] == [1, 1, 2]
    assert decided[2].selection.why == "every call failed"
    at_once = MarginSelector(("small", "large"), prices={"small": 1.0, "large": 3.0}).with_budget(5.0, 3)
    bought = Replay(table([0.1] * 3, failed=["large0"])).run(at_once)
    assert whose(bought) == ["small", "large", "large"]
    assert bought[0].ledger.calls == {"large": 1, "small": 1}


def test_a_response_without_a_margin_escalates_and_this_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    replay = Replay(table([None, 0.9, None]))
    selector = MarginSelector(("small", "large"), threshold=EscalationThreshold(0.5, warm_up=0))
    selections = [selection for selection, _ in replay.iterate(selector, range(3))]
    assert [s.response and s.response.candidate for s in selections] == ["large", "small", "large"]
    assert [s.confidence for s in selections] == [None, 0.9, None]
    assert selector.state.tiers is not None
    assert selector.state.tiers.past_scores[0] == [0.9]
    assert [record.message for record in caplog.records].count(
        "'small' tells no first tokens to take a margin from; such queries go on"
    ) == 1


def test_three_tiers_are_asked_one_by_one() -> None:
    rows = recorded(
        [
            {"a": [{"margin": 0.9, "cost": 1.0}], "b": [{"margin": 0.9, "cost": 2.0}], "c": [{"cost": 4.0}]},
            {"a": [{"margin": 0.1, "cost": 1.0}], "b": [{"margin": 0.9, "cost": 2.0}], "c": [{"cost": 4.0}]},
            {"a": [{"margin": 0.1, "cost": 1.0}], "b": [{"margin": 0.2, "cost": 2.0}], "c": [{"cost": 4.0}]},
        ]
    )
    fixed = EscalationThreshold(online_threshold=False, fixed=(0.5, 0.5))
    decided = Replay(rows).run(MarginSelector(("a", "b", "c"), threshold=fixed))
    assert whose(decided) == ["a", "b", "c"]
    assert [d.ledger.cost for d in decided] == [1.0, 3.0, 7.0]


def test_fixed_thresholds_are_fitted_on_validation_rows() -> None:
    rows = table([0.1, 0.3, 0.6, 0.8])
    selector = MarginSelector(threshold=EscalationThreshold(0.5, online_threshold=False)).fit(rows, rows)
    assert (selector.order, selector.threshold.fixed) == (("small", "large"), (0.6,))
    assert whose(Replay(table([0.59, 0.6])).run(selector)) == ["large", "small"]


def test_the_order_is_the_cheapest_and_then_the_best_of_the_others() -> None:
    rows = recorded(
        [{"best": [{"reward": 0.9, "cost": 2.0}], "cheap": [{"reward": 0.95, "cost": 1.0, "margin": 0.5}],
          "dear": [{"reward": 0.1, "cost": 9.0}]}]
    )  # fmt: skip
    assert MarginSelector().fit(rows, rows).order == ("cheap", "best")


def test_missing_margins_are_refused_before_anything_runs() -> None:
    with pytest.raises(RecordsError, match=r"margin in every row for MarginSelector.*query 2"):
        Replay(table([0.5, None])).run(MarginSelector(("small", "large")))
    with pytest.raises(RecordsError, match="first_tokens in every row"):
        Replay(table([0.5])).run(MarginSelector(("small", "large"), signal="logit"))
    with pytest.raises(RecordsError, match=r"margins or first tokens of \['large'\]"):
        MarginSelector(("large", "small"), threshold=EscalationThreshold(online_threshold=False)).fit(
            table([0.5]), table([0.5])
        )


@pytest.mark.parametrize("order", [(), ("small",), ("small", "zed"), ("small", "small")])
def test_an_order_that_cannot_be_followed_is_refused(order: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"2 or more different candidates among \['small', 'large'\]"):
        Replay(table([0.5])).run(MarginSelector(order))


def test_an_unknown_signal_is_refused() -> None:
    with pytest.raises(ConfigError, match="entropy"):
        MarginSelector(signal="entropy")


def test_it_is_fittable_has_operating_points_and_keeps_to_budgets() -> None:
    selector = MarginSelector(("small", "large"))
    assert isinstance(selector, Fittable)
    assert isinstance(selector, HasOperatingPoints)
    assert isinstance(selector, Budgetable)
    rows = table(np.linspace(0.0, 1.0, 200)[np.random.default_rng(0).permutation(200)].tolist())
    costs = [sum(d.ledger.cost for d in Replay(rows).run(setting)) for setting in selector.operating_points(rows)]
    assert costs == sorted(costs)
    assert (costs[0], costs[-1]) == (200.0, 200.0 + 3.0 * 190)  # all but the warm-up
    fixed = MarginSelector(("small", "large"), threshold=EscalationThreshold(online_threshold=False)).operating_points(
        rows
    )
    spent = [sum(d.ledger.cost for d in Replay(rows).run(setting)) for setting in fixed]
    assert spent == [200.0 + 60.0 * i for i in range(11)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 4))
def test_a_budget_is_never_exceeded(margins: list[float], budget: float) -> None:
    selector = MarginSelector(("small", "large"), threshold=EscalationThreshold(warm_up=1)).with_budget(
        budget, len(margins)
    )
    decided = Replay(table(margins)).run(selector)
    assert sum(d.ledger.cost for d in decided) <= budget * len(margins) + 1e-6


def test_preset_thresholds_are_not_fitted_again_and_others_are() -> None:
    rows = table([0.1, 0.3, 0.5, 0.7])
    preset = MarginSelector(("small", "large"), threshold=EscalationThreshold(online_threshold=False, fixed=(0.2,)))
    assert preset.fit(rows, rows).threshold.fixed == (0.2,)
    open_ = MarginSelector(("small", "large"), threshold=EscalationThreshold(0.5, online_threshold=False))
    assert open_.fit(rows, rows).threshold.fixed == (0.5,)
