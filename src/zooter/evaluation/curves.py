"""Trace a selector's quality against its price: every point is the selector's own code, replayed on the same rows."""

import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from zooter.data.response_table import ResponseTable, response_quality
from zooter.data.types import Floats
from zooter.evaluation.intervals import ratio, with_intervals
from zooter.evaluation.replay import Replay
from zooter.metrics import cost_quality, routing
from zooter.metrics.per_tag import finite_or_none
from zooter.selector.ledger import Ledger
from zooter.selector.protocol import Budgetable, HasOperatingPoints, Selector

BUDGETS = 100  # of a curve, evenly spaced, as in Margin Sampling (arXiv 2405.02134)
STREAM_ORDERS = 3  # random orders of the query stream, as in Margin Sampling
CPT_TARGETS = (0.2, 0.5, 0.8)  # shares of the gap recovered, for RouteLLM's CPT


@dataclass(frozen=True)
class OperatingCurve:
    """Results of a selector at p operating points on n queries, in the order of the operating points.

    Attributes:
        budgets: (p,) allowed US dollars per query; None where the operating points are not budgets.
        quality: (p, n) quality of the returned response, averaged over the orders of the stream; NaN where the choice
            is unknown in one of them, because a cell is missing.
        cost: (p, n) US dollars, averaged over the orders; NaN where a call's cost is unknown.
        strong: (p, n) share of the orders in which the strong candidate was asked, in [0, 1].
    """

    budgets: Floats | None
    quality: Floats
    cost: Floats
    strong: Floats


def operating_curve(
    replay: Replay, selector: Selector, validation: ResponseTable, strong: str
) -> OperatingCurve | None:
    """Run a selector at each of its budgets or operating points.

    Budgets are those of Margin Sampling (its code, plots.py): uniformly spaced between the prices of the small and the
    large candidate of the selector, or of the whole pool for a selector that may ask any, and each run on
    `STREAM_ORDERS` random orders of the queries.

    Args:
        replay: the test table; its needs are not checked again.
        selector: fitted.
        validation: rows from which a selector without a budget derives its operating points.
        strong: name of the candidate whose calls are counted.

    Returns:
        The curve; None for a selector with neither budgets nor operating points. Budgets need prices that are known
        and differ.
    """
    n, names = len(replay.table.queries), getattr(selector, "budget_candidates", ()) or replay.table.pool.names
    prices = np.array([replay.table.prices[name] for name in names])
    if isinstance(selector, Budgetable) and prices.max() > prices.min():  # False where a price is NaN
        budgets = np.linspace(prices.min(), prices.max(), BUDGETS)
        repeats = STREAM_ORDERS if getattr(selector, "depends_on_order", True) else 1
        orders = [np.random.default_rng(seed).permutation(n).tolist() for seed in range(repeats)]
        runs = [
            [_replay_stream(replay, selector.with_budget(float(b), n), order, strong) for order in orders]
            for b in budgets
        ]
        quality, cost, asked = np.mean(runs, axis=1).transpose(1, 0, 2)
        return OperatingCurve(budgets, quality, cost, asked)
    if isinstance(selector, HasOperatingPoints):
        rows = list(range(n))
        points = [_replay_stream(replay, setting, rows, strong) for setting in selector.operating_points(validation)]
        quality, cost, asked = np.stack(points, axis=1)
        return OperatingCurve(None, quality, cost, asked)
    return None


def _replay_stream(replay: Replay, selector: Selector, order: Sequence[int], strong: str) -> Floats:
    """Return (3, n) quality, cost and whether the strong candidate was asked, by row of the table."""
    cells, quality, cost, asked = replay.table.cells, [], [], []
    with _collector_paused():
        for row, (selection, ask) in zip(order, replay.iterate(selector, order), strict=True):
            quality.append(response_quality(cells[row], selection.response) if ask.is_recorded else math.nan)
            cost.append(ask.ledger.cost)
            asked.append(_was_asked(ask.ledger, strong))
    by_row = np.empty((3, len(order)))
    by_row[:, order] = quality, cost, asked
    return by_row


def _was_asked(ledger: Ledger, name: str) -> bool:
    for responses in ledger.rounds:
        for response in responses:
            if response.candidate == name:
                return True
    return False


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector: a replay makes no cycles, and collections through a table double its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def summarise_curve(curve: OperatingCurve, singles: tuple[Floats, Floats], low: float, high: float) -> dict[str, Any]:
    """Summarise an operating curve: its points, budget area, AIQ, APGR and CPT.

    Args:
        curve: p operating points on n queries.
        singles: (n,) qualities of the weak (cheapest) and of the strong candidate alone.
        low: US dollars per call of the cheapest candidate.
        high: US dollars per call of the dearest candidate.

    Returns:
        The points' means; "area" under budgets (Margin Sampling; None without budgets), "aiq" (RouterBench; undefined
        without prices), "apgr" and "cpt" (RouteLLM).
    """
    p, recorded = len(curve.quality), ~np.isnan(curve.quality)
    quality, cost, strong = (np.where(recorded, values, 0.0) for values in (curve.quality, curve.cost, curve.strong))
    ends = np.stack(singles)
    columns = np.concatenate([quality, cost, strong, recorded, np.nan_to_num(ends), ~np.isnan(ends)])
    statistic = partial(_curve_statistics, curve.budgets, p, (low, high))
    intervals = routing.paired_bootstrap(columns, statistic)
    means = columns.mean(axis=1)[:, None]
    area, aiq, apgr, *cpt = with_intervals(statistic(*means)[:, 0], *intervals)
    point_quality, point_cost, point_strong = ratio(means[: 3 * p, 0], np.tile(means[3 * p : 4 * p, 0], 3)).reshape(
        3, p
    )
    return {
        "budgets": None if curve.budgets is None else curve.budgets.tolist(),
        "quality": [finite_or_none(x) for x in point_quality],
        "cost": [finite_or_none(x) for x in point_cost],
        "strong": [finite_or_none(x) for x in point_strong],
        "queries": recorded.sum(axis=1).tolist(),
        "area": area if curve.budgets is not None else None,
        "aiq": aiq,
        "apgr": apgr,
        "cpt": {f"{target:.0%}": value for target, value in zip(CPT_TARGETS, cpt, strict=True)},
    }


def _curve_statistics(budgets: Floats | None, p: int, prices: tuple[float, float], *means: Floats) -> Floats:
    """Compute (6, r) numbers of r resamples: budget area, AIQ, APGR, and CPT at the targets."""
    quality, cost, strong, recorded = np.split(np.stack(means[: 4 * p]), 4)
    quality, cost, strong = ratio(quality, recorded), ratio(cost, recorded), ratio(strong, recorded)
    weak, best = ratio(np.stack(means[4 * p : 4 * p + 2]), np.stack(means[4 * p + 2 :]))
    statistics = np.full((3 + len(CPT_TARGETS), quality.shape[1]), np.nan)
    if budgets is not None:
        statistics[0] = cost_quality.budget_area(budgets, quality)
    priced = not np.isnan(cost).any()
    for r in range(quality.shape[1]):
        if priced:
            statistics[1, r] = cost_quality.aiq(cost[:, r], quality[:, r], *prices)
        if np.isnan(quality[:, r]).any():
            continue
        pair = float(weak[r]), float(best[r])
        statistics[2, r] = cost_quality.apgr(strong[:, r], quality[:, r], *pair)
        statistics[3:, r] = [cost_quality.cpt(strong[:, r], quality[:, r], *pair, target) for target in CPT_TARGETS]
    return statistics
