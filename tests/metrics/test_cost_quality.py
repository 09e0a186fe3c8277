"""Cost-quality metrics against values worked out by hand and independent formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zooter.metrics import cost_quality

POINTS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12)


def arrays(points: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    price, quality = np.array(points, dtype=float).T
    return price, quality


# -- budgets


def test_the_area_is_that_of_trapezoids_divided_by_the_range_of_budgets() -> None:
    # from 1 to 2: (0.5 + 0.7)/2 · 1 = 0.6; from 2 to 5: (0.7 + 0.9)/2 · 3 = 2.4; over 4
    assert cost_quality.budget_area(np.array([1.0, 2.0, 5.0]), np.array([0.5, 0.7, 0.9])) == pytest.approx(0.75)


def test_the_area_of_a_constant_is_the_constant_and_a_straight_line_has_its_middle() -> None:
    budgets = np.linspace(2.0, 10.0, 100)
    assert cost_quality.budget_area(budgets, np.full(100, 0.3)) == pytest.approx(0.3)
    assert cost_quality.budget_area(budgets, np.linspace(0.5, 0.9, 100)) == pytest.approx(0.7)


def test_areas_of_many_resamples_are_computed_at_once_and_are_nan_without_a_range() -> None:
    budgets = np.array([1.0, 2.0])
    assert cost_quality.budget_area(budgets, np.array([[0.0, 1.0], [1.0, 1.0]])).tolist() == [0.5, 1.0]
    assert math.isnan(cost_quality.budget_area(np.array([1.0, 1.0]), np.array([0.5, 0.7])))


# -- RouteLLM's numbers

SHARE = np.array([0.25, 0.5, 0.75])
QUALITY = np.array([0.6, 0.55, 0.75])  # weak 0.5, strong 0.7: recovers 0.5, 0.25 and 1.25: it falls, and it overshoots


def test_the_gap_recovered_starts_at_always_weak_and_ends_at_always_strong() -> None:
    share, pgr = cost_quality.pgr_curve(SHARE, QUALITY, 0.5, 0.7)
    assert share.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert pgr == pytest.approx([0.0, 0.5, 0.25, 1.25, 1.0])


def test_the_average_gap_recovered_is_worked_out_by_hand() -> None:
    # quarters of (0 + .5)/2 + (.5 + .25)/2 + (.25 + 1.25)/2 + (1.25 + 1)/2 = 2.5
    assert cost_quality.apgr(SHARE, QUALITY, 0.5, 0.7) == pytest.approx(0.625)


@pytest.mark.parametrize(("target", "share"), [(0.2, 0.1), (0.5, 0.25), (0.8, 0.5 + 0.25 * 0.55), (1.0, 0.6875)])
def test_the_threshold_is_the_first_share_that_reaches_the_target_though_quality_falls_after_it(
    target: float, share: float
) -> None:
    assert cost_quality.cpt(SHARE, QUALITY, 0.5, 0.7, target) == pytest.approx(share)


def test_interpolating_the_share_over_quality_would_be_wrong() -> None:
    order = np.argsort(QUALITY)
    assert float(np.interp(0.575, QUALITY[order], SHARE[order])) == pytest.approx(0.375)  # as the authors' code does
    assert cost_quality.cpt(SHARE, QUALITY, 0.5, 0.7, 0.375) == pytest.approx(
        0.1875
    )  # 0.575 is passed on the way to 0.6


def test_random_calls_have_an_average_of_a_half_and_thresholds_at_their_targets() -> None:
    share = np.linspace(0.05, 0.95, 19)
    quality = 0.4 + 0.3 * share
    assert cost_quality.apgr(share, quality, 0.4, 0.7) == pytest.approx(0.5)
    for target in (0.2, 0.5, 0.8):
        assert cost_quality.cpt(share, quality, 0.4, 0.7, target) == pytest.approx(target)


@pytest.mark.parametrize("strong", [0.5, 0.4])
def test_without_a_better_strong_candidate_the_metrics_are_nan(strong: float) -> None:
    assert math.isnan(cost_quality.apgr(SHARE, QUALITY, 0.5, strong))
    assert math.isnan(cost_quality.cpt(SHARE, QUALITY, 0.5, strong, 0.5))


def test_without_points_between_the_ends_the_curve_is_that_of_the_random_router() -> None:
    none = np.array([])
    assert cost_quality.apgr(none, none, 0.0, 1.0) == 0.5
    assert cost_quality.cpt(none, none, 0.0, 1.0, 0.8) == pytest.approx(0.8)


@given(POINTS, st.integers(1, 20))
def test_no_smaller_share_on_the_interpolated_curve_reaches_the_target(
    points: list[tuple[int, int]], tenths: int
) -> None:
    distinct = sorted(dict(points).items())
    share, quality = arrays(distinct)
    share, target = (share + 1) / 22, tenths / 20
    threshold = cost_quality.cpt(share, quality, 0.0, 20.0, target)
    xs, ys = np.concatenate([[0], share, [1]]), np.concatenate([[0], quality / 20, [1]])
    fine = np.union1d(np.linspace(0.0, 1.0, 20_001), share)  # a peak may lie between two points of the grid
    reached = fine[np.interp(fine, xs, ys) >= target - 1e-12]
    assert threshold == pytest.approx(reached[0], abs=1e-4)


@given(POINTS)
def test_more_quality_never_lowers_the_average_nor_raises_a_threshold(points: list[tuple[int, int]]) -> None:
    share, quality = arrays(sorted(dict(points).items()))
    share = (share + 1) / 22
    assert cost_quality.apgr(share, quality + 1, 0.0, 20.0) >= cost_quality.apgr(share, quality, 0.0, 20.0)
    assert (
        cost_quality.cpt(share, quality + 1, 0.0, 20.0, 0.5) <= cost_quality.cpt(share, quality, 0.0, 20.0, 0.5) + 1e-12
    )


# -- RouterBench's hull


def test_the_hull_leaves_out_points_below_the_line_and_never_falls() -> None:
    price = np.array([4.0, 1.0, 2.0, 3.0, 5.0])
    quality = np.array([0.9, 0.2, 0.3, 0.8, 0.5])  # (2, .3) lies below the line from (1, .2) to (3, .8); (5, .5) falls
    prices, qualities = cost_quality.hull(price, quality)
    assert prices.tolist() == [1.0, 3.0, 4.0, 5.0]
    assert qualities.tolist() == [0.2, 0.8, 0.9, 0.9]


def test_one_point_two_points_and_equal_prices_have_a_hull() -> None:
    assert [x.tolist() for x in cost_quality.hull(np.array([2.0]), np.array([0.5]))] == [[2.0], [0.5]]
    assert [x.tolist() for x in cost_quality.hull(np.array([3.0, 1.0]), np.array([0.4, 0.5]))] == [
        [1.0, 3.0],
        [0.5, 0.5],
    ]
    assert [x.tolist() for x in cost_quality.hull(np.array([1.0, 1.0]), np.array([0.2, 0.6]))] == [[1.0], [0.6]]


def test_the_average_improvement_in_quality_is_worked_out_by_hand() -> None:
    price, quality = np.array([1.0, 3.0]), np.array([0.2, 0.6])
    # 0 from 0 to 1; (0.2 + 0.6)/2 · 2 = 0.8; 0.6 · 1 from 3 to 4; over 4
    assert cost_quality.aiq(price, quality, 0.0, 4.0) == pytest.approx(0.35)
    assert cost_quality.aiq(price, quality, 1.0, 3.0) == pytest.approx(0.4)
    assert cost_quality.aiq(price, quality, 2.0, 2.5) == pytest.approx(0.45)
    assert cost_quality.aiq(np.array([2.0]), np.array([0.5]), 0.0, 4.0) == pytest.approx(0.25)
    assert cost_quality.aiq(np.array([5.0]), np.array([0.5]), 0.0, 4.0) == 0.0
    assert math.isnan(cost_quality.aiq(price, quality, 2.0, 2.0))


def best_mixture(points: list[tuple[int, int]], at: float) -> float:
    """The best that two settings mixed at random reach for at most this price, by trying all pairs; 0 for none."""
    best = max((q for c, q in points if c <= at), default=0.0)
    for c1, q1 in points:
        for c2, q2 in points:
            if c1 <= at < c2:
                best = max(best, q1 + (q2 - q1) * (at - c1) / (c2 - c1))
    return best


@given(POINTS, st.floats(0, 22))
def test_the_hull_is_the_best_of_all_mixtures_of_two_settings(points: list[tuple[int, int]], at: float) -> None:
    prices, qualities = cost_quality.hull(*arrays(points))
    if at >= prices[0]:
        assert float(np.interp(at, prices, qualities)) == pytest.approx(best_mixture(points, at), abs=1e-9)
    assert (np.diff(prices) > 0).all()
    assert (np.diff(qualities) >= 0).all()
    slopes = np.diff(qualities) / np.diff(prices)
    assert (np.diff(slopes) <= 1e-9).all()


@given(POINTS, st.tuples(st.integers(0, 20), st.integers(0, 20)))
def test_another_setting_never_makes_a_selector_worse(points: list[tuple[int, int]], more: tuple[int, int]) -> None:
    assert cost_quality.aiq(*arrays([*points, more]), 0.0, 20.0) >= cost_quality.aiq(*arrays(points), 0.0, 20.0) - 1e-9


@given(POINTS)
def test_the_average_improvement_in_quality_is_the_mean_over_a_fine_grid(points: list[tuple[int, int]]) -> None:
    grid = (np.arange(20_000) + 0.5) / 1_000
    prices, qualities = cost_quality.hull(*arrays(points))
    fine = np.where(grid < prices[0], 0.0, np.interp(grid, prices, qualities)).mean()
    assert cost_quality.aiq(*arrays(points), 0.0, 20.0) == pytest.approx(fine, abs=0.02)
