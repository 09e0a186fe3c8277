"""Summarise a selector's cost-quality curve in numbers. Pure NumPy; each function names its source.

A point of a curve is one setting of a selector: its mean price per query and the mean quality it reaches. Prices and
qualities are arrays of equal length, in any order unless stated otherwise.
"""

import numpy as np

from zooter.data.types import Floats


def budget_area(budgets: Floats, quality: Floats) -> float:
    """Compute the area under quality by budget, divided by the range of budgets: a mean quality over all budgets.

    Margin Sampling's score (arXiv 2405.02134; the authors' `plots.py`): trapezoids under accuracy(b), divided by
    c_l − c_s. The authors replace the last point by the expensive candidate's accuracy; here it is the measured one.

    Args:
        budgets: (p,) ascending, from c_s to c_l.
        quality: (p,) mean quality under each budget; (p, r) for r resamples gives (r,) areas.

    Returns:
        A quality; NaN if the budgets have no range.
    """
    width = budgets[-1] - budgets[0]
    return np.trapezoid(quality, budgets, axis=0) / width if width > 0 else quality[0] * np.nan


def pgr_curve(share: Floats, quality: Floats, weak: float, strong: float) -> tuple[Floats, Floats]:
    """Compute RouteLLM's curve: performance gap recovered by share of strong calls (arXiv 2406.18665 §2.2).

    PGR = (quality − weak) / (strong − weak). Always weak (0, 0) and always strong (1, 1) are settings of every router
    and are added to the curve.

    Args:
        share: (p,) share of calls that go to the strong candidate, in [0, 1].
        quality: (p,) mean quality.
        weak: mean quality of the weak candidate.
        strong: mean quality of the strong candidate.

    Returns:
        (p + 2,) shares, ascending, and the PGR at each; the PGR is NaN if the strong candidate is not better.
    """
    gap = strong - weak if strong > weak else np.nan
    share = np.concatenate([[0.0], share, [1.0]])
    pgr = np.concatenate([[0.0], (np.asarray(quality) - weak) / gap, [1.0]])
    order = np.lexsort((pgr, share))
    return share[order], pgr[order]


def apgr(share: Floats, quality: Floats, weak: float, strong: float) -> float:
    """Compute the average performance gap recovered: ∫ PGR over the share of strong calls (RouteLLM §2.2).

    Integrated by trapezoids. The paper averages PGR at ten shares, which is the same integral by a coarser rule.

    Args:
        share: (p,) share of calls that go to the strong candidate, in [0, 1].
        quality: (p,) mean quality.
        weak: mean quality of the weak candidate.
        strong: mean quality of the strong candidate.

    Returns:
        The average; 0.5 for the random router, NaN if the strong candidate is not better.
    """
    share, pgr = pgr_curve(share, quality, weak, strong)
    return float(np.trapezoid(pgr, share))


def cpt(share: Floats, quality: Floats, weak: float, strong: float, target: float) -> float:
    """Compute the call-performance threshold: the smallest share of strong calls with PGR ≥ target (RouteLLM §2.2).

    Neighbouring settings are joined by lines, because they can be mixed. The authors' code interpolates the share over
    quality, which is wrong if quality falls as the share grows; here the first crossing counts.

    Args:
        share: (p,) share of calls that go to the strong candidate, in [0, 1].
        quality: (p,) mean quality.
        weak: mean quality of the weak candidate.
        strong: mean quality of the strong candidate.
        target: PGR in [0, 1], such as 0.5 for CPT(50 %).

    Returns:
        A share in [0, 1]; NaN if the strong candidate is not better.
    """
    share, pgr = pgr_curve(share, quality, weak, strong)
    if np.isnan(pgr).any():
        return float("nan")
    first = int(np.argmax(pgr >= target))  # always strong reaches every target of at most 1
    if first == 0 or pgr[first] == pgr[first - 1]:
        return float(share[first])
    fraction = (target - pgr[first - 1]) / (pgr[first] - pgr[first - 1])
    return float(share[first - 1] + fraction * (share[first] - share[first - 1]))


def hull(price: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """Compute the non-decreasing convex hull of a curve (RouterBench §4): the best that random mixtures reach.

    The upper convex hull (Andrew's monotone chain), then the running maximum of quality. The authors' code fails for
    fewer than three points; here one or two points have a hull too.

    Args:
        price: (p,) mean prices, p ≥ 1.
        quality: (p,) mean qualities.

    Returns:
        Prices of the hull's corners, strictly ascending, and their qualities, non-decreasing.
    """
    order = np.lexsort((-np.asarray(quality), price))
    corners: list[tuple[float, float]] = []
    for c, q in zip(np.asarray(price)[order].tolist(), np.asarray(quality)[order].tolist(), strict=True):
        if corners and c == corners[-1][0]:
            continue  # of equal prices, the better quality came first
        while len(corners) > 1 and _on_or_below(corners[-2], corners[-1], (c, q)):
            corners.pop()
        corners.append((c, q))
    points = np.array(corners)
    return points[:, 0], np.maximum.accumulate(points[:, 1])


def aiq(price: Floats, quality: Floats, low: float, high: float) -> float:
    """Compute the average improvement in quality: the mean of the hull over prices low…high (RouterBench §4).

    Beyond its most expensive point a selector keeps its best quality; below its cheapest point it counts as 0, as in
    the authors' code. The zero router, which every router has to beat, is the AIQ of the single candidates.

    Args:
        price: (p,) mean prices.
        quality: (p,) mean qualities.
        low: lower end, the same for all compared selectors, such as the cheapest candidate's price.
        high: upper end, such as the most expensive candidate's price.

    Returns:
        A mean quality; NaN if the range is empty.
    """
    if not high > low:
        return float("nan")
    prices, qualities = hull(price, quality)
    start = max(low, float(prices[0]))
    if start >= high:
        return 0.0
    inner = prices[(prices > start) & (prices < high)]
    grid = np.concatenate([[start], inner, [high]])
    return float(np.trapezoid(np.interp(grid, prices, qualities), grid) / (high - low))


def _on_or_below(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Return whether b is on or below the line from a to c, for a[0] < b[0] < c[0]."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])
